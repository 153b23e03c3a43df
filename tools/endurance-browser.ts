/** Serves a page whose Worker runs a machine, and hears what its console says. */
import { readFileSync } from 'node:fs';
import { createServer, type IncomingMessage } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join, normalize } from 'node:path';

export interface BrowserMachine {
  readonly kernel: string;
  readonly initrd: string;
  readonly commandLine: string;
  readonly memoryMiB: number;
}
const page =
  "<!doctype html><title>Testudo</title><script type=module>new Worker('/build/tools/browser-worker.js', { type: 'module' });</script>";

async function bodyOf(request: IncomingMessage): Promise<string> {
  const parts: Buffer[] = [];
  for await (const part of request) parts.push(part as Buffer);
  return Buffer.concat(parts).toString();
}

export interface Served {
  readonly url: string;
  /** Resolves when the machine has stopped, with what went wrong. */
  readonly ended: Promise<string | undefined>;
  close(): void;
}
export async function serveMachine(machine: BrowserMachine, hear: (text: string) => void): Promise<Served> {
  let end: (problem: string | undefined) => void = () => {};
  const ended = new Promise<string | undefined>((resolve) => {
    end = resolve;
  });
  const server = createServer(async (request, response) => {
    const path = request.url ?? '/';
    const send = (type: string, data: string | Buffer): void => void response.setHeader('content-type', type).end(data);
    try {
      if (path === '/') send('text/html', page);
      else if (path === '/machine')
        send('application/json', JSON.stringify({ commandLine: machine.commandLine, memoryMiB: machine.memoryMiB }));
      else if (path === '/kernel' || path === '/initrd')
        send('application/octet-stream', readFileSync(path === '/kernel' ? machine.kernel : machine.initrd));
      else if (path === '/console') {
        hear(await bodyOf(request));
        send('text/plain', '');
      } else if (path === '/end') {
        const reason = await bodyOf(request);
        send('text/plain', '');
        end(reason === 'power-off' ? undefined : reason);
      } else if (path.startsWith('/build/')) send('text/javascript', readFileSync(join('.', normalize(path))));
      else response.writeHead(404).end();
    } catch (problem) {
      response.writeHead(500).end();
      end(`${path}: ${problem instanceof Error ? problem.message : String(problem)}`);
    }
  });
  await new Promise<void>((resolve) => {
    server.listen(0, '127.0.0.1', resolve);
  });
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/`,
    ended,
    close: () => {
      server.closeAllConnections();
      server.close();
    },
  };
}

/** Exit codes of SVM. Those below 0xc0 are also the places of their intercept bits: word code / 32, bit code % 32. APM 2, appendix C. */
export const ExitCode = {
  readCr: 0x00,
  writeCr: 0x10,
  readDr: 0x20,
  writeDr: 0x30,
  exception: 0x40,
  interrupt: 0x60,
  nmi: 0x61,
  virtualInterrupt: 0x64,
  selectiveCr0: 0x65,
  storeIdtr: 0x66,
  storeGdtr: 0x67,
  storeLdtr: 0x68,
  storeTr: 0x69,
  loadIdtr: 0x6a,
  loadGdtr: 0x6b,
  loadLdtr: 0x6c,
  loadTr: 0x6d,
  rdtsc: 0x6e,
  rdpmc: 0x6f,
  cpuid: 0x72,
  iret: 0x74,
  softwareInterrupt: 0x75,
  invd: 0x76,
  pause: 0x77,
  hlt: 0x78,
  invlpg: 0x79,
  invlpga: 0x7a,
  io: 0x7b,
  msr: 0x7c,
  taskSwitch: 0x7d,
  shutdown: 0x7f,
  vmrun: 0x80,
  vmmcall: 0x81,
  vmload: 0x82,
  vmsave: 0x83,
  stgi: 0x84,
  clgi: 0x85,
  skinit: 0x86,
  rdtscp: 0x87,
  wbinvd: 0x89,
  xsetbv: 0x8d,
  nestedPageFault: 0x400,
  invalid: -1,
} as const;

const names = new Map<number, string>(Object.entries(ExitCode).map(([name, code]) => [code, name]));
export function exitName(code: number): string {
  if (code >= ExitCode.exception && code < ExitCode.exception + 32) return `exception ${code - ExitCode.exception}`;
  if (code >= 0 && code < ExitCode.exception) {
    return `${code < ExitCode.readDr ? 'control' : 'debug'}Register${code & 15}${(code & 16) === 0 ? 'Read' : 'Write'}`;
  }
  return names.get(code) ?? `code ${code.toString(16)}`;
}

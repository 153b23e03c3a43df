/** The SVM instructions. APM 3, and APM 2, 15.5, 15.17 and 15.5.2. */
import { protection, undefinedOpcode } from '../cpu/fault.ts';
import { checkLevel0 } from '../cpu/helpers/control.ts';
import type { Helpers } from '../cpu/helpers/helper.ts';
import type { SvmHelperName } from '../cpu/helpers/without-guests.ts';
import { Efer } from '../cpu/state.ts';
import { VmExit } from '../cpu/vm-exit.ts';
import { run } from './enter.ts';
import { ExitCode } from './exit-codes.ts';
import { loadRest, saveRest } from './registers.ts';
import type { Svm } from './svm.ts';
import { Vmcb } from './vmcb.ts';

/** What all but VMMCALL and SKINIT share: SVM on, protected mode, privilege level 0; then the intercept. */
function common(x: Svm, code: number): void {
  const { v } = x;
  if ((v.efer & Efer.svme) === 0 || !v.protectedMode || v.virtual8086) throw undefinedOpcode();
  checkLevel0(x.p);
  if (x.inGuest && x.intercepts(code)) throw new VmExit(code, 0n, { length: true });
}
/** The VMCB that rAX names. */
function operand(x: Svm): { readonly pointer: bigint; readonly frame: number } {
  const { v } = x;
  const pointer = v.long ? v.register(0) : v.register(0) & 0xffff_ffffn;
  const frame = (pointer & 0xfffn) === 0n && pointer >> 40n === 0n ? x.frameAt(pointer) : 0;
  if (frame === 0) throw protection(0);
  return { pointer, frame };
}
function region(x: Svm): Vmcb {
  const vmcb = new Vmcb(x.v.pool);
  vmcb.select(operand(x).frame);
  return vmcb;
}

export function svmInstructions(x: Svm): Helpers<SvmHelperName> {
  return {
    svmRun() {
      common(x, ExitCode.vmrun);
      // a guest whose VMRUN is not intercepted cannot be: the VMCB's check demands it
      run(x, operand(x).pointer);
    },
    svmCall() {
      if (!x.inGuest || !x.intercepts(ExitCode.vmmcall)) throw undefinedOpcode();
      throw new VmExit(ExitCode.vmmcall, 0n, { length: true });
    },
    svmLoad() {
      common(x, ExitCode.vmload);
      loadRest(x.v, region(x));
    },
    svmSave() {
      common(x, ExitCode.vmsave);
      saveRest(x.v, region(x));
    },
    svmSetInterrupts() {
      common(x, ExitCode.stgi);
      x.holdInterrupts(false);
    },
    svmClearInterrupts() {
      common(x, ExitCode.clgi);
      x.holdInterrupts(true);
    },
    svmSecureInit() {
      if (x.inGuest && x.intercepts(ExitCode.skinit)) throw new VmExit(ExitCode.skinit, 0n, { length: true });
      throw undefinedOpcode();
    },
    svmInvalidate() {
      common(x, ExitCode.invlpga);
      const asid = Number(x.v.register(1) & 0xffff_ffffn);
      for (const context of asid === 0 ? x.spaces.ofRoot : x.spaces.of(asid)) x.p.paging.invalidatePage(x.v.register(0), context);
    },
  };
}

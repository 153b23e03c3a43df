/** Capabilities of VMX that `--cpu` can switch off (`+vmx,-ept`); `vmx/capabilities.ts` says what each of them offers. */
export const vmxFeatures = [
  'ept', 'vpid', 'unrestricted-guest', 'virtual-nmi', 'preemption-timer', 'tpr-shadow', 'msr-bitmap', 'eptad', 'pml', 'shadow-vmcs', 'tsc-scaling',
  'pause-loop', 'desc-exiting', 'vmfunc', 'apicv-xapic', 'apicv-x2apic', 'apicv-register', 'apicv-vid', 'posted-intr', 'mbec', 'ept-violation-ve',
] as const;
export type VmxFeature = (typeof vmxFeatures)[number];
/** Capabilities of SVM that can be switched off likewise. */
export const svmFeatures = ['npt', 'nrip-save'] as const;
export type SvmFeature = (typeof svmFeatures)[number];
/** What a capability needs: switching that off switches this off. */
export const vmxFeatureNeeds: Readonly<Partial<Record<VmxFeature, VmxFeature>>> = {
  'unrestricted-guest': 'ept', eptad: 'ept', pml: 'eptad', vmfunc: 'ept', mbec: 'ept', 'ept-violation-ve': 'ept',
  'apicv-xapic': 'tpr-shadow', 'apicv-x2apic': 'tpr-shadow', 'apicv-register': 'tpr-shadow', 'apicv-vid': 'tpr-shadow', 'posted-intr': 'apicv-vid',
};

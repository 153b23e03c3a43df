/** The work that meanings leave to TypeScript: rare, privileged or long. `cpu/helpers/` has one function for each name. */
export const helperNames = [
  // arithmetic
  'divide128', 'divideSigned128', 'daa', 'das', 'aaa', 'aas', 'aam', 'aad', 'crc32c', 'pext', 'pdep',
  // stack and segments
  'push', 'stackTop', 'release', 'pushAll', 'popAll', 'enter', 'leave', 'segmentSelector', 'loadSegment', 'linear',
  'storeLocalTable', 'storeTask', 'loadLocalTable', 'loadTask', 'storeGlobalTable', 'storeInterruptTable', 'loadGlobalTable', 'loadInterruptTable',
  'accessRights', 'segmentLimit', 'verifyRead', 'verifyWrite', 'bound',
  // control transfers
  'jumpFar', 'callFar', 'returnFar', 'softwareInterrupt', 'breakpoint', 'overflowTrap', 'debugTrap', 'interruptReturn',
  'systemCall', 'systemReturn', 'systemEnter', 'systemExit', 'halt',
  // flags and modes
  'checkFlagsAccess', 'writeFlags', 'clearInterruptFlag', 'setInterruptFlag', 'loadMachineStatus', 'storeMachineStatus', 'clearTaskSwitched',
  'readControl', 'writeControl', 'readDebug', 'writeDebug', 'clearAccess', 'setAccess',
  'readExtendedControl', 'writeExtendedControl', 'readModelSpecific', 'writeModelSpecific', 'readPerformanceCounter', 'identify',
  'invalidatePage', 'invalidateContext', 'invalidateCaches', 'pause',
  // VMX
  'vmCall', 'vmFunction', 'vmLaunch', 'vmxOff', 'vmxOn', 'vmClear', 'vmPointerLoad', 'vmPointerStore', 'vmRead', 'vmReadTo', 'vmWrite', 'invalidateEpt', 'invalidateVpid',
  // SVM
  'svmRun', 'svmCall', 'svmLoad', 'svmSave', 'svmSetInterrupts', 'svmClearInterrupts', 'svmSecureInit', 'svmInvalidate',
  // time, chance, ports
  'timestamp', 'processorId', 'randomNumber', 'randomSeed', 'checkPort', 'portIn', 'portOut',
  // floating point and vectors
  'checkVector', 'checkFloat', 'fxsave', 'fxrstor', 'xsave', 'xrstor', 'xsaveopt', 'xsavec', 'xsaves', 'xrstors', 'loadControlStatus', 'x87', 'float',
  'enterMmx', 'leaveMmx', 'aes', 'carrylessMultiply', 'compareStrings', 'expandMask',
] as const;
export type HelperName = (typeof helperNames)[number];

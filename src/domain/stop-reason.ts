/** Why a machine stopped by itself. */
export type StopReason =
  | { readonly kind: 'power-off' }
  | { readonly kind: 'reset' }
  | { readonly kind: 'exit'; readonly status: number }
  | { readonly kind: 'triple-fault'; readonly why: string };

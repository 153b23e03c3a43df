/* Random values for hostile hypervisors: they write them everywhere, and nothing is expected but that the machine goes on. */
static u64 random_state;
static u64 chance(void) {
  random_state ^= random_state << 13;
  random_state ^= random_state >> 7;
  random_state ^= random_state << 17;
  return random_state;
}
/* Starts with the number on the command line. */
static void start_chance(void) {
  u64 seed = 0;
  for (const char *at = (const char *)(u64)((u32 *)multiboot_information)[4]; *at; at++) if (*at >= '0' && *at <= '9') seed = seed * 10 + *at - '0';
  random_state = seed * 0x9e3779b97f4a7c15 + 1;
}
static u64 odd_value(u64 old) {
  switch (chance() % 8) {
    case 0: return 0;
    case 1: return ~0ul;
    case 2: return chance();
    case 3: return chance() & 0xffffffff;
    case 4: return chance() & 0x3fff000;
    case 5: return 1ul << chance() % 64;
    case 6: return old ^ 1ul << chance() % 64;
    default: return old + chance() % 16;
  }
}

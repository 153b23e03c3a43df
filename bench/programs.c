/* Small programs for the benchmark, one function each; `programs NAME...` runs them between lines that the host times. gcc -O2 -static. */
#define _GNU_SOURCE
#include <emmintrin.h>
#include <fcntl.h>
#include <math.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

typedef uint64_t u64;
typedef uint32_t u32;
typedef uint8_t u8;
static volatile u64 sink;
static u64 seed = 88172645463325252ull;
static u64 next_random(void) { seed ^= seed << 13; seed ^= seed >> 7; return seed ^= seed << 17; }

static void intmix(void) {
  u64 a = 1, b = 2, c = 3;
  for (u64 i = 0; i < 150000000; i++) { a = a * 6364136223846793005ull + c; b ^= a >> 29; c += b ^ (i << 3); if (c & 64) b -= a; }
  sink = a + b + c;
}
static void sieve(void) {
  enum { n = 2000000 };
  u8 *flags = malloc(n);
  u64 count = 0;
  for (int round = 0; round < 50; round++) {
    memset(flags, 1, n);
    for (u64 i = 2; i < n; i++) if (flags[i]) { count++; for (u64 j = i * i; j < n; j += i) flags[j] = 0; }
  }
  sink = count; free(flags);
}
static void crc32(void) {
  static u32 table[256];
  for (u32 i = 0; i < 256; i++) { u32 c = i; for (int k = 0; k < 8; k++) c = c & 1 ? 0xedb88320u ^ (c >> 1) : c >> 1; table[i] = c; }
  static u8 data[65536];
  for (int i = 0; i < 65536; i++) data[i] = next_random();
  u32 c = ~0u;
  for (int round = 0; round < 1200; round++) for (int i = 0; i < 65536; i++) c = table[(c ^ data[i]) & 255] ^ (c >> 8);
  sink = c;
}
static const u32 sha_k[64] = {
  0x428a2f98,0x71374491,0xb5c0fbcf,0xe9b5dba5,0x3956c25b,0x59f111f1,0x923f82a4,0xab1c5ed5,0xd807aa98,0x12835b01,0x243185be,0x550c7dc3,0x72be5d74,0x80deb1fe,0x9bdc06a7,0xc19bf174,
  0xe49b69c1,0xefbe4786,0x0fc19dc6,0x240ca1cc,0x2de92c6f,0x4a7484aa,0x5cb0a9dc,0x76f988da,0x983e5152,0xa831c66d,0xb00327c8,0xbf597fc7,0xc6e00bf3,0xd5a79147,0x06ca6351,0x14292967,
  0x27b70a85,0x2e1b2138,0x4d2c6dfc,0x53380d13,0x650a7354,0x766a0abb,0x81c2c92e,0x92722c85,0xa2bfe8a1,0xa81a664b,0xc24b8b70,0xc76c51a3,0xd192e819,0xd6990624,0xf40e3585,0x106aa070,
  0x19a4c116,0x1e376c08,0x2748774c,0x34b0bcb5,0x391c0cb3,0x4ed8aa4a,0x5b9cca4f,0x682e6ff3,0x748f82ee,0x78a5636f,0x84c87814,0x8cc70208,0x90befffa,0xa4506ceb,0xbef9a3f7,0xc67178f2 };
#define ROR(x, n) ((x) >> (n) | (x) << (32 - (n)))
static void sha256(void) {
  u32 h[8] = {0x6a09e667,0xbb67ae85,0x3c6ef372,0xa54ff53a,0x510e527f,0x9b05688c,0x1f83d9ab,0x5be0cd19};
  for (u32 round = 0; round < 700000; round++) {
    u32 w[64], v[8];
    for (int i = 0; i < 16; i++) w[i] = round * 16 + i;
    for (int i = 16; i < 64; i++) w[i] = w[i-16] + (ROR(w[i-15],7) ^ ROR(w[i-15],18) ^ w[i-15]>>3) + w[i-7] + (ROR(w[i-2],17) ^ ROR(w[i-2],19) ^ w[i-2]>>10);
    memcpy(v, h, 32);
    for (int i = 0; i < 64; i++) {
      u32 t1 = v[7] + (ROR(v[4],6) ^ ROR(v[4],11) ^ ROR(v[4],25)) + ((v[4]&v[5]) ^ (~v[4]&v[6])) + sha_k[i] + w[i];
      u32 t2 = (ROR(v[0],2) ^ ROR(v[0],13) ^ ROR(v[0],22)) + ((v[0]&v[1]) ^ (v[0]&v[2]) ^ (v[1]&v[2]));
      v[7]=v[6]; v[6]=v[5]; v[5]=v[4]; v[4]=v[3]+t1; v[3]=v[2]; v[2]=v[1]; v[1]=v[0]; v[0]=t1+t2;
    }
    for (int i = 0; i < 8; i++) h[i] += v[i];
  }
  sink = h[0];
}
static int compare_u32(const void *a, const void *b) { u32 x = *(const u32 *)a, y = *(const u32 *)b; return x < y ? -1 : x > y; }
static void quicksort(void) {
  enum { n = 200000 };
  u32 *data = malloc(n * 4);
  for (int round = 0; round < 10; round++) { for (int i = 0; i < n; i++) data[i] = next_random(); qsort(data, n, 4, compare_u32); }
  sink = data[n / 2]; free(data);
}
static double ma[200][200], mb[200][200], mc[200][200];
static void matrix(void) {
  for (int i = 0; i < 200; i++) for (int j = 0; j < 200; j++) { ma[i][j] = i + j * 0.5; mb[i][j] = i - j * 0.25; }
  for (int round = 0; round < 36; round++)
    for (int i = 0; i < 200; i++) for (int j = 0; j < 200; j++) { double s = 0; for (int k = 0; k < 200; k++) s += ma[i][k] * mb[k][j]; mc[i][j] = s; }
  sink = (u64)mc[100][100];
}
static void mandelbrot(void) {
  u64 total = 0;
  for (int round = 0; round < 6; round++) for (int y = 0; y < 300; y++) for (int x = 0; x < 300; x++) {
    double cr = x / 150.0 - 1.5, ci = y / 150.0 - 1.0, zr = 0, zi = 0; int n = 0;
    while (n < 200 && zr * zr + zi * zi < 4) { double t = zr * zr - zi * zi + cr; zi = 2 * zr * zi + ci; zr = t; n++; }
    total += n;
  }
  sink = total;
}
static void nbody(void) {
  double p[5][3], v[5][3], m[5];
  for (int i = 0; i < 5; i++) { m[i] = 1.0 + i; for (int k = 0; k < 3; k++) { p[i][k] = (i * 7 + k * 3) % 11 - 5.0; v[i][k] = 0.01 * (k - i); } }
  for (int step = 0; step < 1200000; step++) {
    for (int i = 0; i < 5; i++) for (int j = i + 1; j < 5; j++) {
      double d[3], r2 = 0.01; for (int k = 0; k < 3; k++) { d[k] = p[i][k] - p[j][k]; r2 += d[k] * d[k]; }
      double f = 0.001 / (r2 * sqrt(r2)); for (int k = 0; k < 3; k++) { v[i][k] -= d[k] * m[j] * f; v[j][k] += d[k] * m[i] * f; }
    }
    for (int i = 0; i < 5; i++) for (int k = 0; k < 3; k++) p[i][k] += 0.001 * v[i][k];
  }
  sink = (u64)(p[0][0] * 1000);
}
static void copy(void) {
  enum { n = 1 << 20 };
  u8 *a = malloc(n), *b = malloc(n);
  memset(a, 1, n);
  for (int i = 0; i < 4500; i++) { memcpy(b, a, n); memset(a, b[i], n); }
  sink = b[17]; free(a); free(b);
}
static void chase(void) {
  enum { n = 1 << 20 };
  u32 *to = malloc(n * 4);
  for (u32 i = 0; i < n; i++) to[i] = i;
  for (u32 i = n - 1; i > 0; i--) { u32 j = next_random() % i, t = to[i]; to[i] = to[j]; to[j] = t; }
  u32 at = 0;
  for (int i = 0; i < 3000000; i++) at = to[at];
  sink = at; free(to);
}
static void bytecode(void) {
  enum { ADD, SUB, MUL, PUSH, DUP, JNZ, DEC, SWAP, XOR, END };
  static const u8 program[] = {PUSH, 7, PUSH, 3, PUSH, 200, SWAP, DUP, MUL, PUSH, 13, ADD, SWAP, DEC, DUP, JNZ, 7 - 0, END};
  u64 total = 0;
  for (int round = 0; round < 100000; round++) {
    u64 stack[16]; int sp = 0; const u8 *pc = program; u64 left = 200;
    for (;;) {
      switch (*pc++) {
        case ADD: sp--; stack[sp-1] += stack[sp]; break;
        case SUB: sp--; stack[sp-1] -= stack[sp]; break;
        case MUL: sp--; stack[sp-1] *= stack[sp]; break;
        case XOR: sp--; stack[sp-1] ^= stack[sp]; break;
        case PUSH: stack[sp++] = *pc++; break;
        case DUP: stack[sp] = stack[sp-1]; sp++; break;
        case SWAP: { u64 t = stack[sp-1]; stack[sp-1] = stack[sp-2]; stack[sp-2] = t; break; }
        case DEC: stack[sp-1]--; break;
        case JNZ: if (--left) { sp = 3; pc = program + 7; } else { pc++; sp = 1; } break;
        case END: goto done;
      }
    }
  done: total += stack[0];
  }
  sink = total;
}
static u64 __attribute__((noinline)) fib(u64 n) { return n < 2 ? n : fib(n - 1) + fib(n - 2); }
static void recursion(void) { sink = fib(39); }
typedef u64 (*operation)(u64);
static u64 __attribute__((noinline)) op0(u64 x) { return x + 1; }
static u64 __attribute__((noinline)) op1(u64 x) { return x * 3; }
static u64 __attribute__((noinline)) op2(u64 x) { return x ^ x >> 7; }
static u64 __attribute__((noinline)) op3(u64 x) { return x - 5; }
static void pointers(void) {
  static operation volatile table[4] = {op0, op1, op2, op3};
  u64 x = 1;
  for (int i = 0; i < 120000000; i++) x = table[(x >> 3) & 3](x);
  sink = x;
}
static void strings(void) {
  static char text[4096]; char other[4096]; u64 total = 0;
  for (int i = 0; i < 4095; i++) text[i] = 'a' + next_random() % 26;
  for (int round = 0; round < 80000; round++) { text[round % 4000] = 'z'; strcpy(other, text); total += strlen(other) + strcmp(text, other) + (memchr(text, '!', 4096) != 0); if (strstr(text, "qqqqq")) total++; }
  sink = total;
}
static void allocation(void) {
  void *blocks[1000] = {0};
  for (int i = 0; i < 16000000; i++) { u32 n = next_random() % 1000; free(blocks[n]); blocks[n] = malloc(16 + (n & 255)); *(char *)blocks[n] = 1; }
  for (int i = 0; i < 1000; i++) free(blocks[i]);
}
static void simd(void) {
  static u8 a[65536], b[65536] __attribute__((aligned(16)));
  __m128i sum = _mm_setzero_si128();
  for (int round = 0; round < 8000; round++)
    for (int i = 0; i < 65536; i += 16) {
      __m128i x = _mm_loadu_si128((__m128i *)(a + i)), y = _mm_load_si128((__m128i *)(b + i));
      __m128i z = _mm_adds_epu8(_mm_xor_si128(x, y), _mm_cmpgt_epi8(x, y));
      sum = _mm_add_epi32(sum, _mm_madd_epi16(_mm_unpacklo_epi8(z, x), _mm_unpackhi_epi8(y, z)));
      _mm_store_si128((__m128i *)(b + i), z);
    }
  u32 out[4]; _mm_storeu_si128((__m128i *)out, sum); sink = out[0];
}
static void x87(void) {
  long double s = 0, x = 1.0L;
  for (int i = 1; i < 8000000; i++) { x = x * 0.999L + 1.0L / i; s += x; }
  sink = (u64)s;
}
static void jit(void) {
  u8 *page = mmap(0, 4096, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  u64 total = 0;
  for (u32 i = 0; i < 400000; i++) {
    u8 *f = page + (i % 32) * 64;
    u8 code[] = {0xb8, i, i >> 8, i >> 16, 0, 0x01, 0xf8, 0xc3}; /* mov $i, %eax; add %edi, %eax; ret */
    memcpy(f, code, sizeof code);
    for (u32 k = 0; k < 20; k++) total += ((u32(*)(u32))f)(k);
  }
  sink = total; munmap(page, 4096);
}

static void syscalls(void) { for (int i = 0; i < 7000000; i++) syscall(SYS_getppid); }
static void readbyte(void) { int f = open("/dev/zero", O_RDONLY); char c; for (int i = 0; i < 2500000; i++) if (read(f, &c, 1) != 1) abort(); close(f); }
static void mapping(void) { for (int i = 0; i < 200000; i++) { char *p = mmap(0, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0); *p = 1; munmap(p, 4096); } }
static void faults(void) { for (int round = 0; round < 100; round++) { char *p = mmap(0, 16 << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0); for (int i = 0; i < 16 << 20; i += 4096) p[i] = 1; munmap(p, 16 << 20); } }
static void protection(void) { char *p = mmap(0, 65536, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0); for (int i = 0; i < 300000; i++) { mprotect(p, 8192, PROT_READ); mprotect(p, 8192, PROT_READ | PROT_WRITE); p[i & 4095] = 1; } munmap(p, 65536); }
static void forking(void) { for (int i = 0; i < 2400; i++) { int pid = fork(), status; if (pid == 0) _exit(0); waitpid(pid, &status, 0); } }
static void executing(void) { for (int i = 0; i < 1200; i++) { int pid = fork(), status; if (pid == 0) { execl("/bin/busybox", "true", (char *)0); _exit(1); } waitpid(pid, &status, 0); } }
static void pipes(void) {
  int a[2], b[2], status; char c = 0;
  if (pipe(a) || pipe(b)) abort();
  int pid = fork();
  if (pid == 0) { for (int i = 0; i < 200000; i++) if (read(a[0], &c, 1) != 1 || write(b[1], &c, 1) != 1) _exit(1); _exit(0); }
  for (int i = 0; i < 200000; i++) if (write(a[1], &c, 1) != 1 || read(b[0], &c, 1) != 1) abort();
  waitpid(pid, &status, 0); close(a[0]); close(a[1]); close(b[0]); close(b[1]);
}
static void handler(int s) { (void)s; }
static void signals(void) { signal(SIGUSR1, handler); int pid = getpid(); for (int i = 0; i < 300000; i++) kill(pid, SIGUSR1); }

static const struct { const char *name; void (*run)(void); } programs[] = {
  {"intmix", intmix}, {"sieve", sieve}, {"crc32", crc32}, {"digest", sha256}, {"quicksort", quicksort}, {"matrix", matrix}, {"mandelbrot", mandelbrot}, {"nbody", nbody}, {"copy", copy},
  {"chase", chase}, {"bytecode", bytecode}, {"recursion", recursion}, {"pointers", pointers}, {"strings", strings}, {"allocation", allocation}, {"simd", simd}, {"x87", x87}, {"jit", jit},
  {"syscalls", syscalls}, {"readbyte", readbyte}, {"mapping", mapping}, {"faults", faults}, {"protection", protection}, {"forking", forking}, {"executing", executing}, {"pipes", pipes}, {"signals", signals} };

int main(int argc, char **argv) {
  for (int i = 1; i < argc; i++)
    for (unsigned n = 0; n < sizeof programs / sizeof *programs; n++)
      if (!strcmp(argv[i], programs[n].name)) {
        printf("@begin %s\n", argv[i]); fflush(stdout);
        programs[n].run();
        printf("@end %s\n", argv[i]); fflush(stdout);
      }
  return 0;
}

/*
 * kvmrun: boots a Linux kernel in a virtual machine of /dev/kvm, with its first serial port on this terminal.
 *
 *   kvmrun [-m MiB] [-c CPUS] [-a COMMAND-LINE] [-e FILE]... KERNEL [INITRD]
 *
 * -e puts a file into the guest's root under the same path, behind what INITRD holds. Ends when the guest powers off (status 0) or shuts
 * itself down by a triple fault (status 3). The machine has a PC's interrupt controllers and timers (KVM's own), an ACPI that names the processors
 * and can switch off, a 16550 at 3F8, and nothing else.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <termios.h>
#include <unistd.h>

enum { PM1A_EVENT = 0x600, PM1A_CONTROL = 0x604, SERIAL = 0x3f8, SERIAL_IRQ = 4, SLEEP_ENABLE = 0x2000 };
enum { ZERO_PAGE = 0x7000, COMMAND_LINE = 0x20000, RSDP = 0xe0000, KERNEL = 0x100000, MAX_CPUS = 8 };

static uint8_t *memory;
static uint64_t memory_size = 128u << 20;
static int kvm, vm, cpus = 1;
static struct termios saved;
static int restores;

static void leave(int status) {
  if (restores) tcsetattr(0, TCSANOW, &saved);
  _exit(status);
}
static void die(const char *format, ...) {
  va_list arguments;
  va_start(arguments, format);
  fprintf(stderr, "kvmrun: ");
  vfprintf(stderr, format, arguments);
  fprintf(stderr, "\n");
  leave(1);
}
static int control(int file, unsigned long request, const char *name, void *argument) {
  int result = ioctl(file, request, argument);
  if (result < 0) die("%s: %s", name, strerror(errno));
  return result;
}
#define CONTROL(file, request, argument) control(file, request, #request, (void *)(uintptr_t)(argument))

/* --- the serial port */

static pthread_mutex_t serial_lock = PTHREAD_MUTEX_INITIALIZER;
static struct { uint8_t ier, lcr, mcr, scr, dll, dlm, fcr, sending; uint8_t input[4096]; unsigned head, tail; int level; } serial;

/* Input waits until the guest's driver has enabled the interrupt and its pin: as it starts it clears what was received, and a person's first words would be lost. */
static int received(void) {
  int listens = (serial.ier & 1) && (serial.mcr & 8);
  return listens && serial.head != serial.tail;
}
static int identification(void) {
  if (received()) return 4;
  if ((serial.ier & 2) && serial.sending) return 2;
  return 1;
}
static void serial_line(void) {
  int level = identification() != 1;
  if (level == serial.level) return;
  serial.level = level;
  struct kvm_irq_level line = {.irq = SERIAL_IRQ, .level = level};
  CONTROL(vm, KVM_IRQ_LINE, &line);
}
static void serial_write(int offset, uint8_t value) {
  pthread_mutex_lock(&serial_lock);
  switch (offset) {
    case 0:
      if (serial.lcr & 0x80) serial.dll = value;
      else {
        if (write(1, &value, 1) < 0 && errno != EAGAIN) leave(0);
        serial.sending = 1;
      }
      break;
    case 1:
      if (serial.lcr & 0x80) serial.dlm = value;
      else {
        if (!(serial.ier & 2) && (value & 2)) serial.sending = 1;
        serial.ier = value & 15;
      }
      break;
    case 2: serial.fcr = value; break;
    case 3: serial.lcr = value; break;
    case 4: serial.mcr = value; break;
    case 7: serial.scr = value; break;
  }
  serial_line();
  pthread_mutex_unlock(&serial_lock);
}
static uint8_t serial_read(int offset) {
  uint8_t value = 0;
  pthread_mutex_lock(&serial_lock);
  switch (offset) {
    case 0:
      if (serial.lcr & 0x80) value = serial.dll;
      else if (received()) value = serial.input[serial.tail++ % sizeof serial.input];
      break;
    case 1: value = serial.lcr & 0x80 ? serial.dlm : serial.ier; break;
    case 2:
      value = identification();
      if (value == 2) serial.sending = 0;
      if (serial.fcr & 1) value |= 0xc0;
      break;
    case 3: value = serial.lcr; break;
    case 4: value = serial.mcr; break;
    case 5: value = 0x60 | received(); break;
    case 6: value = 0xb0; break;
    case 7: value = serial.scr; break;
  }
  serial_line();
  pthread_mutex_unlock(&serial_lock);
  return value;
}
static void *reader(void *unused) {
  uint8_t byte;
  while (read(0, &byte, 1) == 1) {
    for (;;) {
      pthread_mutex_lock(&serial_lock);
      int room = serial.head - serial.tail < sizeof serial.input;
      if (room) serial.input[serial.head++ % sizeof serial.input] = byte;
      serial_line();
      pthread_mutex_unlock(&serial_lock);
      if (room) break;
      usleep(10000);
    }
  }
  return unused;
}

/* --- ACPI: processors, the IOAPIC, and a way to switch off */

static void put32(uint8_t *at, uint32_t value) { memcpy(at, &value, 4); }
static uint64_t next_table = RSDP + 0x100;
static uint64_t table(const char *signature, uint8_t revision, const uint8_t *body, unsigned length) {
  uint8_t *at = memory + next_table;
  uint64_t address = next_table;
  unsigned total = 36 + length;
  memset(at, 0, 36);
  memcpy(at, signature, 4);
  put32(at + 4, total);
  at[8] = revision;
  memcpy(at + 10, "TESTUDKVMRUN  ", 14);
  put32(at + 24, 1);
  memcpy(at + 28, "KVMR", 4);
  put32(at + 32, 1);
  memcpy(at + 36, body, length);
  uint8_t sum = 0;
  for (unsigned n = 0; n < total; n++) sum += at[n];
  at[9] = -sum;
  next_table = (next_table + total + 15) & ~15ull;
  return address;
}
static void firmware(void) {
  static const uint8_t sleep5[] = {0x08, '_', 'S', '5', '_', 0x12, 0x06, 0x04, 0x0a, 5, 0x0a, 5, 0, 0};
  uint64_t dsdt = table("DSDT", 2, sleep5, sizeof sleep5);
  uint8_t fadt[244 - 36] = {0};
  put32(fadt + 40 - 36, dsdt);
  fadt[46 - 36] = 9;
  put32(fadt + 56 - 36, PM1A_EVENT);
  put32(fadt + 64 - 36, PM1A_CONTROL);
  fadt[88 - 36] = 4;
  fadt[89 - 36] = 2;
  fadt[109 - 36] = 1 | 4 | 32; /* legacy devices; no VGA, no real-time clock */
  put32(fadt + 112 - 36, 1 | (1 << 2) | (1 << 4) | (1 << 5)); /* WBINVD works, no power or sleep button as fixed hardware */
  uint64_t facp = table("FACP", 3, fadt, sizeof fadt);
  uint8_t madt[8 + 8 * MAX_CPUS + 12 + 10] = {0};
  unsigned at = 8;
  put32(madt, 0xfee00000);
  put32(madt + 4, 1);
  for (int n = 0; n < cpus; n++, at += 8) {
    uint8_t entry[8] = {0, 8, n, n, 1};
    memcpy(madt + at, entry, 8);
  }
  uint8_t ioapic[12] = {1, 12, cpus, 0};
  put32(ioapic + 4, 0xfec00000);
  memcpy(madt + at, ioapic, 12);
  uint8_t timer[10] = {2, 10, 0, 0, 2};
  memcpy(madt + at + 12, timer, 10);
  uint64_t apic = table("APIC", 3, madt, at + 22);
  uint8_t pointers[16] = {0};
  memcpy(pointers, &facp, 8);
  memcpy(pointers + 8, &apic, 8);
  uint64_t xsdt = table("XSDT", 1, pointers, sizeof pointers);
  uint8_t *rsdp = memory + RSDP;
  memcpy(rsdp, "RSD PTR ", 8);
  memcpy(rsdp + 9, "TESTUD", 6);
  rsdp[15] = 2;
  put32(rsdp + 20, 36);
  memcpy(rsdp + 24, &xsdt, 8);
  uint8_t sum = 0;
  for (int n = 0; n < 20; n++) sum += rsdp[n];
  rsdp[8] = -sum;
  sum = 0;
  for (int n = 0; n < 36; n++) sum += rsdp[n];
  rsdp[32] = -sum;
}

/* --- the kernel and its initial RAM disk */

static uint8_t *read_file(const char *path, size_t *size) {
  int file = open(path, O_RDONLY);
  struct stat status;
  if (file < 0 || fstat(file, &status) < 0) die("%s: %s", path, strerror(errno));
  uint8_t *data = malloc(status.st_size + 1);
  size_t done = 0;
  for (ssize_t got; done < (size_t)status.st_size && (got = read(file, data + done, status.st_size - done)) > 0;) done += got;
  close(file);
  *size = done;
  return data;
}
static uint8_t *disk;
static size_t disk_size;
static void append(const void *data, size_t size) {
  disk = realloc(disk, disk_size + size + 4);
  if (!disk) die("out of memory");
  memcpy(disk + disk_size, data, size);
  for (disk_size += size; disk_size % 4; disk_size++) disk[disk_size] = 0;
}
/* One member of a cpio archive in the "newc" format. */
static void member(const char *path, unsigned mode, const uint8_t *data, size_t size) {
  char header[512];
  while (*path == '/') path++;
  int length = snprintf(header, sizeof header, "070701%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%s", 0, mode, 0, 0, 1, 0, (unsigned)size, 0, 0, 0, 0,
                        (unsigned)strlen(path) + 1, 0, path);
  if (length >= (int)sizeof header) die("%s: the path is too long", path);
  append(header, length + 1);
  if (size) append(data, size);
}
static void extra_file(const char *path) {
  size_t size;
  uint8_t *data = read_file(path, &size);
  char folder[256];
  for (const char *slash = strchr(path + 1, '/'); slash && (size_t)(slash - path) < sizeof folder; slash = strchr(slash + 1, '/')) {
    memcpy(folder, path, slash - path);
    folder[slash - path] = 0;
    member(folder, 040755, NULL, 0);
  }
  struct stat status;
  member(path, stat(path, &status) == 0 ? status.st_mode : 0100644, data, size);
  free(data);
}

static void load_kernel(const char *path, const char *command_line) {
  size_t size;
  uint8_t *image = read_file(path, &size);
  if (size < 0x1000 || memcmp(image + 0x202, "HdrS", 4) != 0) die("%s is no Linux kernel (bzImage)", path);
  unsigned setup = (image[0x1f1] ? image[0x1f1] : 4) * 512 + 512;
  uint8_t *zero = memory + ZERO_PAGE;
  memcpy(zero + 0x1f1, image + 0x1f1, 0x202 + image[0x201] - 0x1f1);
  if (size - setup > memory_size - KERNEL) die("-m %llu: too little memory for %s", (unsigned long long)(memory_size >> 20), path);
  memcpy(memory + KERNEL, image + setup, size - setup);
  free(image);
  zero[0x210] = 0xff; /* an unnamed loader */
  zero[0x211] |= 0x01; /* loaded high */
  put32(zero + 0x228, COMMAND_LINE);
  strncpy((char *)memory + COMMAND_LINE, command_line, 2047);
  if (disk_size) {
    uint64_t at = (memory_size - disk_size) & ~0xfffull;
    if (disk_size > memory_size / 2) die("-m %llu: too little memory for the initial RAM disk", (unsigned long long)(memory_size >> 20));
    memcpy(memory + at, disk, disk_size);
    put32(zero + 0x218, at);
    put32(zero + 0x21c, disk_size);
    free(disk);
  }
  const uint64_t map[][3] = {{0, 0x9fc00, 1}, {0xe0000, 0x20000, 2}, {KERNEL, memory_size - KERNEL, 1}};
  for (int n = 0; n < 3; n++) {
    memcpy(zero + 0x2d0 + n * 20, &map[n][0], 16);
    put32(zero + 0x2d0 + n * 20 + 16, map[n][2]);
  }
  zero[0x1e8] = 3;
  uint64_t rsdp = RSDP;
  memcpy(zero + 0x70, &rsdp, 8);
}

/* --- processors */

static uint16_t pm1_enabled;
static void power_off(void) { leave(0); }

static void port(struct kvm_run *run) {
  uint8_t *data = (uint8_t *)run + run->io.data_offset;
  for (unsigned n = 0; n < run->io.count; n++, data += run->io.size) {
    unsigned number = run->io.port;
    if (number >= SERIAL && number < SERIAL + 8) {
      if (run->io.direction == KVM_EXIT_IO_OUT) serial_write(number - SERIAL, *data);
      else *data = serial_read(number - SERIAL);
    } else if (number == PM1A_EVENT + 2 && run->io.size == 2) memcpy(run->io.direction == KVM_EXIT_IO_IN ? data : (uint8_t *)&pm1_enabled,
                                                                      run->io.direction == KVM_EXIT_IO_IN ? (uint8_t *)&pm1_enabled : data, 2);
    else if (run->io.direction == KVM_EXIT_IO_IN) memset(data, number >= PM1A_EVENT && number < PM1A_CONTROL + 2 ? 0 : 0xff, run->io.size);
    else if (number == PM1A_CONTROL && ((data[0] | data[1] << 8) & SLEEP_ENABLE)) power_off();
    else if (number == 0x64 && *data == 0xfe) leave(0); /* the keyboard controller's reset line */
  }
}

static struct kvm_cpuid2 *cpuid;
__attribute__((noreturn)) static void *processor(void *argument) {
  int number = (int)(intptr_t)argument;
  int cpu = CONTROL(vm, KVM_CREATE_VCPU, number);
  int size = CONTROL(kvm, KVM_GET_VCPU_MMAP_SIZE, 0);
  struct kvm_run *run = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, cpu, 0);
  if (run == MAP_FAILED) die("vCPU %d: %s", number, strerror(errno));
  size_t bytes = sizeof *cpuid + cpuid->nent * sizeof cpuid->entries[0];
  struct kvm_cpuid2 *own = malloc(bytes);
  memcpy(own, cpuid, bytes);
  for (unsigned n = 0; n < own->nent; n++) {
    struct kvm_cpuid_entry2 *e = &own->entries[n];
    if (e->function == 1) {
      e->ebx = (e->ebx & 0xffff) | number << 24 | cpus << 16;
      e->ecx |= 1u << 31 | 1 << 24; /* a hypervisor is there; the APIC timer has TSC deadlines */
    }
    if (e->function == 0xb) e->edx = number;
  }
  CONTROL(cpu, KVM_SET_CPUID2, own);
  free(own);
  if (number == 0) {
    struct kvm_sregs s;
    CONTROL(cpu, KVM_GET_SREGS, &s);
    struct kvm_segment code = {.base = 0, .limit = 0xffffffff, .selector = 0x10, .type = 11, .present = 1, .db = 1, .s = 1, .g = 1};
    struct kvm_segment data = code;
    data.selector = 0x18;
    data.type = 3;
    s.cs = code;
    s.ds = s.es = s.fs = s.gs = s.ss = data;
    s.cr0 |= 1;
    CONTROL(cpu, KVM_SET_SREGS, &s);
    struct kvm_regs r = {.rip = KERNEL, .rsi = ZERO_PAGE, .rflags = 2, .rsp = 0x6000};
    CONTROL(cpu, KVM_SET_REGS, &r);
  }
  for (;;) {
    if (ioctl(cpu, KVM_RUN, 0) < 0) {
      if (errno == EINTR || errno == EAGAIN) continue;
      die("KVM_RUN: %s", strerror(errno));
    }
    switch (run->exit_reason) {
      case KVM_EXIT_IO: port(run); break;
      case KVM_EXIT_MMIO: if (!run->mmio.is_write) memset(run->mmio.data, 0xff, sizeof run->mmio.data); break;
      case KVM_EXIT_INTR: case KVM_EXIT_HLT: break;
      case KVM_EXIT_SHUTDOWN:
        fprintf(stderr, "kvmrun: the guest shut itself down by a triple fault\n");
        leave(3);
        break;
      case KVM_EXIT_FAIL_ENTRY: die("the processor refused the guest's state: reason %llx", (unsigned long long)run->fail_entry.hardware_entry_failure_reason); break;
      case KVM_EXIT_INTERNAL_ERROR: die("KVM: internal error %u (%llx %llx)", run->internal.suberror, (unsigned long long)run->internal.data[0], (unsigned long long)run->internal.data[1]); break;
      default: die("an exit that nobody handles: %u", run->exit_reason);
    }
  }
}

static void usage(void) {
  fprintf(stderr, "usage: kvmrun [-m MiB] [-c CPUS] [-a COMMAND-LINE] [-e FILE]... KERNEL [INITRD]\n");
  exit(2);
}

int main(int count, char **arguments) {
  const char *command_line = "console=ttyS0 quiet";
  const char *extra[16];
  int extras = 0;
  for (int option; (option = getopt(count, arguments, "m:c:a:e:")) != -1;) {
    switch (option) {
      case 'm': memory_size = strtoull(optarg, NULL, 10) << 20; break;
      case 'c': cpus = atoi(optarg); break;
      case 'a': command_line = optarg; break;
      case 'e': if (extras < 16) extra[extras++] = optarg; break;
      default: usage();
    }
  }
  if (optind >= count || count - optind > 2) usage();
  if (memory_size < 32u << 20 || memory_size > 2048u << 20) die("-m: 32 to 2048 MiB");
  if (cpus < 1 || cpus > MAX_CPUS) die("-c: 1 to %d processors", MAX_CPUS);
  kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC);
  if (kvm < 0) die("/dev/kvm: %s (is the kvm-intel module loaded?)", strerror(errno));
  vm = CONTROL(kvm, KVM_CREATE_VM, 0);
  CONTROL(vm, KVM_SET_TSS_ADDR, 0xfffbd000);
  uint64_t identity = 0xfffbc000;
  CONTROL(vm, KVM_SET_IDENTITY_MAP_ADDR, &identity);
  CONTROL(vm, KVM_CREATE_IRQCHIP, 0);
  struct kvm_pit_config pit = {.flags = KVM_PIT_SPEAKER_DUMMY};
  CONTROL(vm, KVM_CREATE_PIT2, &pit);
  /* in huge pages where the kernel has them: the guest's first touches are an exit for 2 MiB then, not for each 4 KiB */
  const uintptr_t huge = 2u << 20;
  uint8_t *area = mmap(NULL, memory_size + huge, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (area == MAP_FAILED) die("-m: %s", strerror(errno));
  memory = (uint8_t *)(((uintptr_t)area + huge - 1) & ~(huge - 1));
  madvise(memory, memory_size, MADV_HUGEPAGE);
  struct kvm_userspace_memory_region region = {.memory_size = memory_size, .userspace_addr = (uintptr_t)memory};
  CONTROL(vm, KVM_SET_USER_MEMORY_REGION, &region);
  cpuid = calloc(1, sizeof *cpuid + 128 * sizeof cpuid->entries[0]);
  cpuid->nent = 128;
  CONTROL(kvm, KVM_GET_SUPPORTED_CPUID, cpuid);

  if (optind + 1 < count) {
    size_t size;
    uint8_t *data = read_file(arguments[optind + 1], &size);
    append(data, size);
    free(data);
  }
  for (int n = 0; n < extras; n++) extra_file(extra[n]);
  if (extras) member("TRAILER!!!", 0, NULL, 0);
  load_kernel(arguments[optind], command_line);
  firmware();

  if (tcgetattr(0, &saved) == 0) {
    struct termios raw = saved;
    cfmakeraw(&raw);
    restores = tcsetattr(0, TCSANOW, &raw) == 0;
  }
  pthread_t thread;
  pthread_create(&thread, NULL, reader, NULL);
  for (int n = 1; n < cpus; n++) pthread_create(&thread, NULL, processor, (void *)(intptr_t)n);
  processor(NULL);
}

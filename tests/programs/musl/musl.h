// One program with a part per family of calls. Each part prints what happened, never what differs between two runs of
// Linux (addresses, ids, times); what it prints on Linux is what it has to print on Aurora.
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/select.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

// Prints an expression's value, or the errno's text if it is -1.
#define SHOW(call) show(#call, (long)(call))
// Prints only whether it worked.
#define TRY(call) show(#call, (long)(call) == -1 ? -1 : 0)

void show(const char *what, long result);

struct part {
  const char *name;
  int (*run)(int argc, char **argv);
};
extern const struct part memory_parts[], signal_parts[], process_parts[], file_parts[], exhaust_parts[], terminal_parts[];

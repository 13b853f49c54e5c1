// The words of the descriptions in calls.c.
#include "fuzzer.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

// How large the buffer was that the call was just given; the length that follows mostly says so.
static _Thread_local uint64_t last_size;

static uint64_t size(void) {
  static const uint64_t sizes[] = {0, 1, 8, 16, 64, 100, 512, 4095, 4096, 4097, 8192, 65535, 65536, 65537};
  return rarely(3) ? sizes[below(sizeof sizes / sizeof *sizes)] : below(300);
}

static uint64_t make_descriptor(const struct type *type) { return resource((enum resource)type->parameter); }
static uint64_t make_any_descriptor(const struct type *type) { return (void)type, any_descriptor(); }
static uint64_t make_resource(const struct type *type) { return resource((enum resource)type->parameter); }

static uint64_t make_place(const struct type *type) {
  (void)type;
  if (rarely(3)) return (uint64_t)AT_FDCWD;
  return rarely(8) ? any_descriptor() : resource(rarely(4) ? PLACE : DIRECTORY);
}

// Only the first are for root, who could break what the next round needs.
#define OWN 18
static const char *const paths[] = {
    "f", "g", "d", "d/f", "d/g", "l", "l/f", "p", "s", "q", ".", "", "f/", "./d/../d/./f", "e", "d/../..", "..", "loop",
    "/", "/tmp", "/proc", "/proc/self", "/proc/self/maps", "/proc/self/fd", "/proc/self/fd/0", "/proc/self/fd/3", "/proc/self/stat",
    "/proc/self/exe", "/proc/self/mem", "/proc/self/status", "/proc/self/mountinfo", "/proc/self/smaps", "/proc/self/task", "/proc/self/ns/mnt",
    "/proc/self/cwd", "/proc/self/environ", "/proc/self/fdinfo/3", "/proc/self/comm", "/proc/self/limits", "/proc/self/root",
    "/proc/1/status", "/proc/1/mem", "/dev/null", "/dev/zero", "/dev/tty", "/dev/full", "/dev/urandom", "/dev/console", "/dev/ptmx",
    "/dev/pts/0", "/dev/shm/x", "/bin/busybox", "/no/such", "/dev", "/proc/meminfo", "/proc/mounts", "/proc/locks", "/proc/net/unix",
    "/proc/net/tcp", "/proc/sys/kernel/hostname", "/sys", "/etc/passwd",
};

static const char *some_path(void) {
  return paths[below(rarely(2) || may_break_the_system() ? OWN : sizeof paths / sizeof *paths)];
}

static uint64_t make_path(const struct type *type) {
  char text[4200];
  (void)type;
  if (rarely(25)) {
    size_t length = rarely(2) ? 250 + below(10) : 4090 + below(10);
    memset(text, 'a' + (char)below(26), length), text[length] = 0;
  } else if (rarely(40))
    memset(text, 0xff, 64), text[64] = 0;
  else
    strcpy(text, some_path());
  return put(text, strlen(text) + 1);
}

static uint64_t make_text(const struct type *type) {
  static const char *const texts[] = {"", "user.a", "user.b", "user.", "trusted.a", "security.x", "system.posix_acl_access", "/a", "/b", "a", "tmpfs", "proc", "overlay", "devpts",
                                      "size=1m", "lowerdir=d,upperdir=f,workdir=g", "mode=0700"};
  (void)type;
  const char *text = texts[below(sizeof texts / sizeof *texts)];
  return put(text, strlen(text) + 1);
}

const char *const queue_names[QUEUE_NAMES] = {"a", "b", "a queue with a longer name", "user.a"};
static uint64_t make_queue_name(const struct type *type) {
  (void)type;
  if (rarely(10)) return rarely(2) ? put_whole("a/b", 4) : 0x8000000000000000;
  const char *name = queue_names[below(QUEUE_NAMES)];
  return put_whole(name, strlen(name) + 1);
}

static uint64_t make_room(const struct type *type) {
  last_size = type->parameter ? type->parameter : size();
  return room(last_size > 65536 ? 65536 : last_size);
}

static uint64_t make_input(const struct type *type) {
  static _Thread_local char bytes[4096];
  (void)type;
  last_size = size();
  size_t filled = last_size < sizeof bytes ? last_size : sizeof bytes;
  for (size_t i = 0; i + 8 <= filled; i += 8) {
    uint64_t word = rarely(3) ? number() : next();
    memcpy(bytes + i, &word, 8);
  }
  return put(bytes, filled);
}

static uint64_t make_length(const struct type *type) {
  (void)type;
  if (rarely(6)) return rarely(3) ? number() : size();
  return last_size;
}

static uint64_t make_pages_length(const struct type *type) {
  (void)type;
  if (rarely(10)) return number();
  return below(12) * 4096 + (rarely(5) ? below(4096) : 0);
}

static uint64_t make_page(const struct type *type) {
  (void)type;
  if (rarely(8)) return number();
  if (rarely(3)) return resource(MAPPING);
  return rarely(8) ? 0 : page() + (rarely(20) ? below(4096) : 0);
}

static uint64_t make_offset(const struct type *type) {
  (void)type;
  if (rarely(6)) return number();
  return below(6) * (rarely(2) ? 4096 : 1000) + (rarely(4) ? below(5000) : 0);
}

static uint64_t make_number(const struct type *type) { return (void)type, rarely(3) ? number() : below(8); }
static uint64_t make_below(const struct type *type) { return rarely(25) ? number() : below(type->parameter); }
static uint64_t make_exactly(const struct type *type) { return rarely(30) ? number() : type->parameter; }
static uint64_t make_task(const struct type *type) { return (void)type, foreign_task(); }
static uint64_t make_word(const struct type *type) { return (void)type, futex_word(); }

static uint64_t make_user(const struct type *type) {
  (void)type;
  if (rarely(10)) return number();
  return rarely(3) ? (uint64_t)-1 : rarely(3) ? 0 : USER + below(2);
}

static uint64_t make_flags(const struct type *type) {
  uint64_t flags = 0;
  for (uint64_t i = below(4); i > 0; i--) flags |= type->set[below(type->count)];
  if (rarely(20)) flags |= 1ull << below(40);
  return rarely(40) ? number() : flags;
}

static uint64_t make_one(const struct type *type) { return rarely(30) ? number() : type->set[below(type->count)]; }

// What may end a process does so seldom: most of a round shall come to its end.
static uint64_t make_signal(const struct type *type) {
  static size_t count, deadly;
  static const uint64_t *signals, *ends;
  (void)type;
  if (!signals) ends = flags_of("deadly", 6, &deadly), signals = flags_of("signal", 6, &count);
  if (rarely(30)) return number();
  return rarely(30) ? ends[below(deadly)] : signals[below(count)];
}

// A limit in time, so that few calls wait for ever; milliseconds.
static uint64_t make_milliseconds(const struct type *type) {
  (void)type;
  return rarely(12) ? number() : below(3);
}

static const struct type types[] = {
    {"fd", make_any_descriptor}, {"file", make_descriptor, FILE_}, {"dir", make_descriptor, DIRECTORY}, {"at", make_place},
    {"pipe", make_descriptor, PIPE}, {"sock", make_descriptor, SOCKET}, {"epoll", make_descriptor, EPOLL},
    {"event", make_descriptor, EVENT}, {"timerfd", make_descriptor, TIMER_FD}, {"signalfd", make_descriptor, SIGNAL_FD},
    {"inotify", make_descriptor, INOTIFY}, {"pidfd", make_descriptor, PID_FD}, {"mq", make_descriptor, QUEUE},
    {"memfd", make_descriptor, MEMORY}, {"tty", make_descriptor, TERMINAL}, {"ns", make_descriptor, NAMESPACE},
    {"place", make_descriptor, PLACE}, {"watch", make_resource, WATCH}, {"timer", make_resource, TIMER},
    {"shm", make_resource, SHARED_SEGMENT}, {"sem", make_resource, SEMAPHORE}, {"msq", make_resource, MESSAGES},
    {"mapping", make_resource, MAPPING}, {"path", make_path}, {"text", make_text}, {"queue", make_queue_name}, {"buf", make_room}, {"in", make_input},
    {"out", make_room, 64}, {"pair", make_room, 8}, {"len", make_length}, {"page", make_page}, {"pages", make_pages_length},
    {"off", make_offset}, {"num", make_number}, {"few", make_below, 6}, {"bit", make_below, 2}, {"eight", make_exactly, 8}, {"thirty_two", make_exactly, 32}, {"zero", make_exactly, 0},
    {"pid", make_task}, {"word", make_word}, {"uid", make_user}, {"sig", make_signal}, {"ms", make_milliseconds},
};

static const struct type *find(const struct type *all, size_t count, const char *word, size_t length) {
  for (size_t i = 0; i < count; i++)
    if (strlen(all[i].word) == length && memcmp(all[i].word, word, length) == 0) return &all[i];
  return 0;
}

const struct type *type_of(const char *word, size_t length) {
  const struct type *type = find(types, sizeof types / sizeof *types, word, length);
  if (!type) type = find(structures, structure_count, word, length);
  if (type) return type;
  // flags:SET is any number of them, one:SET just one.
  const char *colon = memchr(word, ':', length);
  struct type *made = colon ? calloc(1, sizeof *made) : 0;
  if (!made) return 0;
  made->word = word, made->make = *word == 'o' ? make_one : make_flags;
  made->set = flags_of(colon + 1, length - (size_t)(colon + 1 - word), &made->count);
  return made->set ? made : 0;
}

uint64_t value_of(const struct type *type) { return type->make(type); }

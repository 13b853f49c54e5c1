// What main.c opens while it runs: a library with a constructor, thread-local storage and a name of main.c's.
#include <stdio.h>

__thread int of_the_plugin = 40;
extern int shared_with_the_plugin;

__attribute__((constructor)) static void opened(void) { puts("the plugin is opened"); }
__attribute__((destructor)) static void closed(void) { puts("the plugin is closed"); }

int plugin_count(int by) {
  shared_with_the_plugin++;
  return of_the_plugin += by;
}

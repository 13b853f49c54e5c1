/*
 * lua.c - Debian's Lua with lua.lua in it, linked statically: an interpreter at its usual work.
 *
 *   lua [-s SCALE] lua
 *   lua list
 *
 * Prints what bench.c prints.
 */
#include <lua5.4/lauxlib.h>
#include <lua5.4/lua.h>
#include <lua5.4/lualib.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

__asm__(".section .rodata\n"
        "script: .incbin \"bench/lua.lua\"\n"
        "script_end: .byte 0\n"
        ".text\n");
extern const char script[], script_end[];

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

int main(int argc, char **argv)
{
    double scale = 1, start, seconds;
    lua_State *lua;
    if (argc == 2 && !strcmp(argv[1], "list")) {
        puts("lua");
        return 0;
    }
    if (argc == 4 && !strcmp(argv[1], "-s")) scale = atof(argv[2]);
    lua = luaL_newstate();
    luaL_openlibs(lua);
    lua_pushnumber(lua, scale);
    lua_setglobal(lua, "scale");
    start = now();
    if (luaL_loadbuffer(lua, script, (size_t)(script_end - script), "lua.lua") || lua_pcall(lua, 0, 2, 0)) {
        fprintf(stderr, "%s\n", lua_tostring(lua, -1));
        return 1;
    }
    seconds = now() - start;
    printf("BENCH lua ops=%.0f unit=rounds sec=%.6f rate=%.6g check=%s\n", lua_tonumber(lua, -2), seconds,
           lua_tonumber(lua, -2) / seconds, lua_tostring(lua, -1));
    return 0;
}

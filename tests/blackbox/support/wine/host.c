// A Windows host: it starts a plugin, and says what becomes of it.
//
//   host.exe PLUGIN [NAME=VALUE | +ARGUMENT]…
//
// It sets the variables (or removes those without a value), hands over the arguments, and prints `plugin ID`. `{d800}` stands
// for half of a character, which is no text. When the plugin ends it prints `plugin ended CODE`. It ends with its stdin, and leaves the plugin behind.

#include <windows.h>
#include <stdio.h>
#include <wchar.h>

static HANDLE plugin;

static int fail(const char *what)
{
    printf("host: %s: error %lu\n", what, GetLastError());
    fflush(stdout);
    return 1;
}

static void append(wchar_t *line, size_t room, const wchar_t *text)
{
    static const wchar_t mark[] = L"{d800}";
    size_t length = wcslen(line);
    while (*text && length + 1 < room) {
        int half = !wcsncmp(text, mark, wcslen(mark));
        line[length++] = half ? 0xd800 : *text;
        text += half ? wcslen(mark) : 1;
    }
    line[length] = 0;
}

static DWORD WINAPI wait_for_plugin(void *unused)
{
    DWORD code = 0;
    WaitForSingleObject(plugin, INFINITE);
    GetExitCodeProcess(plugin, &code);
    printf("plugin ended %lu\n", code);
    fflush(stdout);
    return 0;
}

int wmain(int count, wchar_t **words)
{
    static wchar_t line[32768], value[32768];
    int at = 1;
    if (at >= count)
        return fail("what is to be started?");
    append(line, 32768, L"\"");
    append(line, 32768, words[at++]);
    append(line, 32768, L"\"");
    for (; at < count; at++) {
        wchar_t *equals = wcschr(words[at], L'=');
        if (words[at][0] == L'+') {
            append(line, 32768, L" \"");
            append(line, 32768, words[at] + 1);
            append(line, 32768, L"\"");
        } else if (equals) {
            *equals = 0;
            value[0] = 0;
            append(value, 32768, equals + 1);
            SetEnvironmentVariableW(words[at], value[0] ? value : NULL);
        }
    }
    STARTUPINFOW startup = {.cb = sizeof startup};
    PROCESS_INFORMATION started;
    startup.dwFlags = STARTF_USESTDHANDLES;
    startup.hStdInput = NULL;
    startup.hStdOutput = GetStdHandle(STD_OUTPUT_HANDLE);
    startup.hStdError = GetStdHandle(STD_ERROR_HANDLE);
    if (!CreateProcessW(NULL, line, NULL, NULL, TRUE, 0, NULL, NULL, &startup, &started))
        return fail("start the plugin");
    plugin = started.hProcess;
    printf("plugin %lu\n", started.dwProcessId);
    fflush(stdout);
    CreateThread(NULL, 0, wait_for_plugin, NULL, 0, NULL);
    char unused[64];
    while (fgets(unused, sizeof unused, stdin))
        ;
    return 0;
}

// A Windows host: it starts a plugin, says what becomes of it, and does what it is told.
//
//   host.exe [-c] PLUGIN [NAME=VALUE | +ARGUMENT]…
//   host.exe -t FILE
//
// It sets the variables (or removes those without a value), hands over the arguments, and prints `plugin ID`. `{d800}` stands for half of a character, which
// is no text. `-c` has Windows make a console for the plugin, as for that of a program with windows, which has none
// itself. Then it follows the lines of its stdin:
//
//   break     sends Ctrl-Break to the plugin
//   console   prints whether the plugin has a console: `console yes` or `console no`
//
// When the plugin ends it prints `plugin ended CODE`. It ends with its stdin, and leaves the plugin behind.
// With -t it has the user trust a certificate (DER).

#include <windows.h>
#include <wincrypt.h>
#include <stdio.h>
#include <wchar.h>

static HANDLE plugin;

static int fail(const char *what)
{
    printf("host: %s: error %lu\n", what, GetLastError());
    fflush(stdout);
    return 1;
}

static int trust(const wchar_t *file)
{
    static BYTE der[65536];
    DWORD length = 0;
    HANDLE handle = CreateFileW(file, GENERIC_READ, FILE_SHARE_READ, NULL, OPEN_EXISTING, 0, NULL);
    if (handle == INVALID_HANDLE_VALUE || !ReadFile(handle, der, sizeof der, &length, NULL))
        return fail("read the certificate");
    HCERTSTORE store = CertOpenStore(CERT_STORE_PROV_SYSTEM_W, 0, 0, CERT_SYSTEM_STORE_CURRENT_USER, L"Root");
    if (!store)
        return fail("open the store");
    if (!CertAddEncodedCertificateToStore(store, X509_ASN_ENCODING, der, length, CERT_STORE_ADD_ALWAYS, NULL))
        return fail("add the certificate");
    CertCloseStore(store, 0);
    printf("trusted\n");
    return 0;
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
    int at = 1, own_console = 0;
    if (count > 2 && !wcscmp(words[1], L"-t"))
        return trust(words[2]);
    if (count > 1 && !wcscmp(words[1], L"-c"))
        own_console = at++;
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
    DWORD flags = CREATE_NEW_PROCESS_GROUP;
    if (own_console) {
        // What it writes goes there, too.
        FreeConsole();
        flags |= CREATE_NEW_CONSOLE;
    } else {
        startup.dwFlags = STARTF_USESTDHANDLES;
        startup.hStdInput = NULL;
        startup.hStdOutput = GetStdHandle(STD_OUTPUT_HANDLE);
        startup.hStdError = GetStdHandle(STD_ERROR_HANDLE);
        // Ctrl-Break comes from a console that both have. (Wine gives who is started from Linux half of one.)
        FreeConsole();
        if (!AllocConsole())
            return fail("have a console");
        SetStdHandle(STD_OUTPUT_HANDLE, startup.hStdOutput);
        SetStdHandle(STD_ERROR_HANDLE, startup.hStdError);
    }
    if (!CreateProcessW(NULL, line, NULL, NULL, !own_console, flags, NULL, NULL, &startup, &started))
        return fail("start the plugin");
    plugin = started.hProcess;
    printf("plugin %lu\n", started.dwProcessId);
    fflush(stdout);
    CreateThread(NULL, 0, wait_for_plugin, NULL, 0, NULL);
    char command[64];
    while (fgets(command, sizeof command, stdin)) {
        if (!strncmp(command, "break", 5)) {
            if (!GenerateConsoleCtrlEvent(CTRL_BREAK_EVENT, started.dwProcessId))
                fail("send Ctrl-Break");
        } else if (!strncmp(command, "console", 7)) {
            FreeConsole();
            int has = AttachConsole(started.dwProcessId);
            printf("console %s\n", has ? "yes" : "no");
            fflush(stdout);
        }
    }
    return 0;
}

#include "journal/guard.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <ctype.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static char dir[64], lock_path[80];

static int make_dir(void **state)
{
    (void)state;
    snprintf(dir, sizeof(dir), "%s", "/tmp/posthouse-guard-XXXXXX");
    if (mkdtemp(dir) == NULL)
        return -1;
    snprintf(lock_path, sizeof(lock_path), "%s/lock", dir);
    return 0;
}

static int remove_dir(void **state)
{
    (void)state;
    unlink(lock_path);
    return rmdir(dir);
}

static void lock_text(char out[256])
{
    int fd = open(lock_path, O_RDONLY);
    ssize_t got = fd < 0 ? -1 : read(fd, out, 255);

    assert_true(got >= 0);
    out[got] = '\0';
    close(fd);
}

static void guard_boot_id__is_a_uuid_and_stays(void **state)
{
    char first[BOOT_ID_BYTES], second[BOOT_ID_BYTES];

    (void)state;
    guard_boot_id(first);
    guard_boot_id(second);
    assert_string_equal(first, second);
    if (access("/proc/sys/kernel/random/boot_id", R_OK) != 0) {
        assert_string_equal(first, "unknown");
        return;
    }
    assert_int_equal(strlen(first), 36);
    for (int i = 0; i < 36; i++) {
        if (i == 8 || i == 13 || i == 18 || i == 23)
            assert_int_equal(first[i], '-');
        else
            assert_true(isxdigit((unsigned char)first[i]));
    }
}

static void guard_lock__excludes_and_names_the_holder(void **state)
{
    char host[65] = "", boot[BOOT_ID_BYTES], text[256], expected[256], holder[200];
    struct err err = ERR_INIT;
    struct stat st;
    int fd, again;

    (void)state;
    assert_false(guard_is_locked(dir, holder)); /* not even a file */
    assert_string_equal(holder, "");
    fd = guard_lock(dir, &err);
    assert_true(fd >= 0);
    assert_int_equal(fcntl(fd, F_GETFD) & FD_CLOEXEC, FD_CLOEXEC);
    assert_int_equal(stat(lock_path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);

    gethostname(host, sizeof(host) - 1);
    guard_boot_id(boot);
    snprintf(expected, sizeof(expected), "%s %ld %s\n", host, (long)getpid(), boot);
    lock_text(text);
    assert_string_equal(text, expected);

    /* The lock belongs to the open file: within the same process, too, there is only one. */
    again = guard_lock(dir, &err);
    assert_int_equal(again, -1);
    assert_int_equal(err.kind, ERR_DENIED);
    snprintf(expected, sizeof(expected), "directory %s is in use by process %ld on %s (boot %s)", dir, (long)getpid(),
             host, boot);
    if (strncmp(err.text, expected, strlen(expected)) != 0)
        fail_msg("%s", err.text);
    assert_non_null(strstr(err.text, "; stop it first"));
    assert_true(guard_is_locked(dir, holder));
    assert_non_null(strstr(expected, holder));

    /* Looking at it, or closing some other descriptor of the file, loses nothing. */
    lock_text(text);
    assert_true(guard_is_locked(dir, holder));
    assert_int_equal(guard_lock(dir, NULL), -1);

    close(fd);
    assert_false(guard_is_locked(dir, holder));
    fd = guard_lock(dir, &err);
    assert_true(fd >= 0);
    close(fd);
}

static void guard_lock__is_free_when_the_holder_dies(void **state)
{
    char holder[200], expected[64], byte;
    struct err err = ERR_INIT;
    int ready[2], status, fd;
    pid_t child;

    (void)state;
    assert_int_equal(pipe(ready), 0);
    fflush(NULL);
    child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        if (guard_lock(dir, NULL) < 0)
            _exit(1);
        if (write(ready[1], "r", 1) != 1)
            _exit(2);
        for (;;)
            pause();
    }
    assert_int_equal(read(ready[0], &byte, 1), 1);
    snprintf(expected, sizeof(expected), "process %ld on ", (long)child);
    assert_true(guard_is_locked(dir, holder));
    assert_non_null(strstr(holder, expected));
    assert_int_equal(guard_lock(dir, &err), -1);
    assert_int_equal(err.kind, ERR_DENIED);
    assert_non_null(strstr(err.text, expected));

    kill(child, SIGKILL);
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFSIGNALED(status));
    assert_false(guard_is_locked(dir, holder)); /* its text is still there */
    fd = guard_lock(dir, &err);
    assert_true(fd >= 0);
    close(fd);
    close(ready[0]);
    close(ready[1]);
}

/* The text is what another program left there: shown only where it looks as it should. */
static void guard_is_locked__shows_no_nonsense(void **state)
{
    static const struct {
        const char *text, *holder;
    } rows[] = {
        { "", "process ? on ? (boot ?)" },
        { "host.example", "process ? on host.example (boot ?)" },
        { "h 12 abc\n", "process 12 on h (boot abc)" },
        { "h 12\n", "process 12 on h (boot ?)" },
        { "\033[31mh 12 abc\n", "process 12 on ? (boot abc)" },
        { "h 12x abc\n", "process ? on h (boot abc)" },
        { "h 123456789012345678901 abc\n", "process ? on h (boot abc)" },
        { "h 1 abc;def\n", "process 1 on h (boot ?)" },
        { "h 1 aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\n", "process 1 on h (boot ?)" },
    };
    int fd = guard_lock(dir, NULL);
    char text[256];

    (void)state;
    assert_true(fd >= 0);
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        char holder[200];

        assert_int_equal(ftruncate(fd, 0), 0);
        assert_int_equal(pwrite(fd, rows[i].text, strlen(rows[i].text), 0), strlen(rows[i].text));
        assert_true(guard_is_locked(dir, holder));
        if (strcmp(holder, rows[i].holder) != 0)
            fail_msg("row %zu: %s", i, holder);
    }
    close(fd);
    fd = guard_lock(dir, NULL); /* replaces all of the text of before */
    assert_true(fd >= 0);
    lock_text(text);
    assert_ptr_equal(strchr(text, '\n'), text + strlen(text) - 1);
    close(fd);
}

static void guard_lock__reports_other_failures(void **state)
{
    struct err err = ERR_INIT;
    const char *name;
    enum guard_fs kind;

    (void)state;
    assert_int_equal(guard_lock("/tmp/posthouse-no-such", &err), -1);
    assert_int_equal(err.kind, ERR_NOTFOUND);
    err = ERR_INIT;
    assert_int_equal(guard_lock("/dev/null", &err), -1);
    assert_int_equal(err.kind, ERR_TEMP); /* ENOTDIR */
    err = ERR_INIT;
    assert_int_equal(guard_fs_kind("/tmp/posthouse-no-such", &kind, &name, &err), -1);
    assert_int_equal(err.kind, ERR_NOTFOUND);
}

static void guard_fs_of_magic__rows(void **state)
{
    static const struct {
        uint32_t magic;
        enum guard_fs kind;
        const char *name;
    } rows[] = {
        { 0x6969, GUARD_FS_REMOTE, "NFS" },
        { 0x517B, GUARD_FS_REMOTE, "SMB" },
        { 0xFF534D42, GUARD_FS_REMOTE, "CIFS" },
        { 0xFE534D42, GUARD_FS_REMOTE, "SMB2" },
        { 0x01021997, GUARD_FS_REMOTE, "9p" },
        { 0x65735546, GUARD_FS_REMOTE, "FUSE" },
        { 0x01021994, GUARD_FS_NOT_DURABLE, "tmpfs" },
        { 0x858458F6, GUARD_FS_NOT_DURABLE, "ramfs" },
        { 0x9123683E, GUARD_FS_COPY_ON_WRITE, "btrfs" },
        { 0x2FC12FC1, GUARD_FS_COPY_ON_WRITE, "ZFS" },
        { 0xCA451A4E, GUARD_FS_COPY_ON_WRITE, "bcachefs" },
        { 0xEF53, GUARD_FS_OK, "ext4" },
        { 0x58465342, GUARD_FS_OK, "XFS" },
        { 0x12345678, GUARD_FS_OK, "unknown" },
    };

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        const char *name = NULL;
        enum guard_fs kind = guard_fs_of_magic(rows[i].magic, &name);

        if (kind != rows[i].kind || strcmp(name, rows[i].name) != 0)
            fail_msg("row %zu: %d %s", i, (int)kind, name);
    }
}

/* Against the system's own table of mounts, where it has such a file system. */
static void guard_fs_kind__knows_dev_shm(void **state)
{
    char line[512], where[256], type[64];
    FILE *mounts = fopen("/proc/self/mounts", "r");
    const char *name = NULL;
    enum guard_fs kind;
    int seen = 0;

    (void)state;
    if (mounts == NULL)
        skip();
    while (fgets(line, sizeof(line), mounts) != NULL) {
        if (sscanf(line, "%*s %255s %63s", where, type) != 2 || strcmp(type, "tmpfs") != 0 || access(where, X_OK) != 0)
            continue;
        assert_int_equal(guard_fs_kind(where, &kind, &name, NULL), 0);
        assert_int_equal(kind, GUARD_FS_NOT_DURABLE);
        assert_string_equal(name, "tmpfs");
        seen++;
    }
    fclose(mounts);
    if (seen == 0)
        skip();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(guard_boot_id__is_a_uuid_and_stays),
        cmocka_unit_test_setup_teardown(guard_lock__excludes_and_names_the_holder, make_dir, remove_dir),
        cmocka_unit_test_setup_teardown(guard_lock__is_free_when_the_holder_dies, make_dir, remove_dir),
        cmocka_unit_test_setup_teardown(guard_is_locked__shows_no_nonsense, make_dir, remove_dir),
        cmocka_unit_test(guard_lock__reports_other_failures),
        cmocka_unit_test(guard_fs_of_magic__rows),
        cmocka_unit_test(guard_fs_kind__knows_dev_shm),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

#include <cmocka.h>

#include "net/conf.h"

static void on_report(void *arg, const char *pointer, const char *message)
{
    buf_printf(arg, "%s: %s\n", pointer, message);
}

/* "name protocol tls address …;" of every listener, and what was reported. */
static void describe(const char *net, const char *listeners, struct buf *out)
{
    struct buf errors = BUF_INIT;
    struct net_conf nc = { 0 };
    struct arena mem;
    json_t *ndoc = json_parse(slice_str(net), NULL);
    json_t *doc = listeners != NULL ? json_parse(slice_str(listeners), NULL) : NULL;

    arena_init(&mem, 1024);
    assert_non_null(ndoc);
    keys_default(&net_keys, &nc, &mem);
    unsigned count = keys_read(&net_keys, ndoc, "/net", &nc, &mem, on_report, &errors);
    count += net_conf_read_listeners(doc, &nc, &mem, on_report, &errors);
    for (size_t i = 0; count == 0 && i < nc.listener_count; i++) {
        const struct listener_conf *l = &nc.listeners[i];
        buf_printf(out, "%.*s %.*s %u", SLICE_ARG(l->name), SLICE_ARG(l->protocol), l->tls);
        for (size_t a = 0; a < l->addr_count; a++) {
            buf_put_byte(out, ' ');
            net_addr_print(&l->addrs[a], out);
        }
        buf_put_byte(out, ';');
    }
    assert_int_equal(count > 0, errors.len > 0);
    buf_put_slice(out, buf_slice(&errors));
    buf_free(&errors);
    arena_free(&mem);
    json_decref(ndoc);
    json_decref(doc);
}

static void conf__reads_listeners(void **state)
{
    static const struct {
        const char *net, *listeners, *out;
    } rows[] = {
        { "{\"listen\": [\"127.0.0.1\", \"::1\"]}", NULL,
          "smtp smtp 1 127.0.0.1:25 [::1]:25;submission submission 1 127.0.0.1:587 [::1]:587;"
          "submissions submission 2 127.0.0.1:465 [::1]:465;imap imap 1 127.0.0.1:143 [::1]:143;"
          "imaps imap 2 127.0.0.1:993 [::1]:993;pop3 pop3 1 127.0.0.1:110 [::1]:110;"
          "pop3s pop3 2 127.0.0.1:995 [::1]:995;lmtp lmtp 0 127.0.0.1:24 unix:run/lmtp.sock;" },
        { "{}", "{\"x\": {\"protocol\": \"smtp\", \"addresses\": [\"*:25\", \"unix:/y\"], \"tls\": \"starttls\"}}",
          "x smtp 1 [::]:25 unix:/y;" },
        { "{}", "{}", "" },
        { "{}", "[]", "/listeners: expected an object of named listeners\n" },
        { "{}", "{\"x\": {\"protocol\": \"smtp\", \"addresses\": [\"127.0.0.1:25\", \"127.0.0.1\"]}}",
          "/listeners/x/addresses/1: no port: write \"127.0.0.1:25\", \"[::1]:25\", \"*:25\" or \"unix:/path\"\n" },
        { "{}", "{\"x\": {\"addresses\": [\"*:1\"], \"unix_mode\": \"0888\"}}",
          "/listeners/x: unix_mode: expected an octal number such as \"0660\"\n"
          "/listeners/x: protocol is missing: smtp, submission, lmtp, imap, pop3 or metrics\n" },
        { "{}", "{\"x\": {\"protocol\": \"smtp\"}}",
          "/listeners/x: addresses: expected 1 to 64 of them, such as [\"127.0.0.1:25\"]\n" },
        { "{\"listen\": [\"localhost\"], \"proxy_trusted\": [\"10.0.0.0/8\", \"10.0.0.0/99\"]}", "{}",
          "/net/proxy_trusted/1: the length of a range of this family is a number from 0 to 32\n" },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct buf out = BUF_INIT;
        describe(rows[i].net, rows[i].listeners, &out);
        if (strcmp(buf_str(&out), rows[i].out) != 0)
            fail_msg("row %zu: %s", i, buf_str(&out));
        buf_free(&out);
    }
}

static void conf__listens_everywhere_by_default(void **state)
{
    struct buf out = BUF_INIT;

    (void)state;
    describe("{}", NULL, &out);
    assert_true(slice_starts(buf_slice(&out), SLICE("smtp smtp 1 [::]:25;submission submission 1 [::]:587;")));
    buf_free(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(conf__reads_listeners),
        cmocka_unit_test(conf__listens_everywhere_by_default),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

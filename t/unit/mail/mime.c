#include "mail_test.h"

#include "mail/imapform.h"
#include "mail/mime.h"

static void structure(slice message, bool extended, struct buf *out)
{
    struct arena mem;

    arena_init(&mem, 4096);
    imapform_body(message, mime_parse(message, &mem), extended, out);
    arena_free(&mem);
}

#define NESTED                                                                                                         \
    "Content-Type: multipart/mixed; boundary=\"o\"\r\n\r\npreamble\r\n--o\r\n\r\nfirst\r\nline\r\n--o\r\n"             \
    "Content-Type: message/rfc822\r\n\r\nSubject: in\r\nFrom: a@b\r\n"                                                 \
    "Content-Type: multipart/alternative; boundary=i\r\n\r\n--i\r\nContent-Type: text/plain; charset=utf-8\r\n"        \
    "Content-Transfer-Encoding: quoted-printable\r\n\r\n=C3=A4\r\n--i\r\nContent-Type: "                               \
    "text/html\r\n\r\n<p>\r\n--i--\r\n"                                                                                \
    "\r\n--o\r\nContent-Type: image/png; name=\"x y.png\"\r\nContent-Transfer-Encoding: base64\r\n"                    \
    "Content-Disposition: attachment; filename=x.png\r\nContent-ID: <1@x>\r\n\r\nAAAA\r\n--o--\r\nepilogue\r\n"

static void imapform_body__table(void **state)
{
    static const struct {
        const char *message, *want;
        bool extended;
    } rows[] = {
        { "Subject: x\r\n\r\nhello\r\nyou\r\n", "(\"text\" \"plain\" NIL NIL NIL \"7bit\" 12 2)", false },
        { "", "(\"text\" \"plain\" NIL NIL NIL \"7bit\" 0 0)", false },
        { "Content-Type: text/html; charset=\"utf-8\"; format=flowed\r\nContent-Transfer-Encoding: 8bit\r\n"
          "Content-MD5: abc\r\nContent-Language: en\r\nContent-Location: http://x\r\n\r\nx\r\n",
          "(\"text\" \"html\" (\"charset\" \"utf-8\" \"format\" \"flowed\") NIL NIL \"8bit\" 3 1 \"abc\" NIL \"en\" "
          "\"http://x\")",
          true },
        { NESTED,
          "((\"text\" \"plain\" NIL NIL NIL \"7bit\" 11 1)"
          "(\"message\" \"rfc822\" NIL NIL NIL \"7bit\" 220 (NIL \"in\" ((NIL NIL \"a\" \"b\")) ((NIL NIL \"a\" "
          "\"b\")) "
          "((NIL NIL \"a\" \"b\")) NIL NIL NIL NIL NIL) "
          "((\"text\" \"plain\" (\"charset\" \"utf-8\") NIL NIL \"quoted-printable\" 6 0)"
          "(\"text\" \"html\" NIL NIL NIL \"7bit\" 3 0) \"alternative\") 14)"
          "(\"image\" \"png\" (\"name\" \"x y.png\") \"<1@x>\" NIL \"base64\" 4) \"mixed\")",
          false },
        { "Content-Type: multipart/mixed; boundary=q\r\n\r\nno parts\r\n",
          "((\"text\" \"plain\" NIL NIL NIL \"7bit\" 0 0) \"mixed\")", false },
        { "Content-Type: multipart/digest; boundary=q\r\n\r\n--q\r\n\r\nSubject: d\r\n\r\nx\r\n--q--\r\n",
          "((\"message\" \"rfc822\" NIL NIL NIL \"7bit\" 15 (NIL \"d\" NIL NIL NIL NIL NIL NIL NIL NIL) "
          "(\"text\" \"plain\" NIL NIL NIL \"7bit\" 1 0) 2) \"digest\")",
          false },
        { "Content-Type: multipart/mixed; boundary=q\r\n\r\n--q\r\nContent-Type: text/plain\r\n--q--\r\n",
          "((\"text\" \"plain\" NIL NIL NIL \"7bit\" 0 0) \"mixed\")", false }, /* no empty line before the end */
        { "Content-Type: text\r\n\r\nx", "(\"text\" \"plain\" NIL NIL NIL \"7bit\" 1 0)", false },
        { "Content-Type: multipart/mixed; boundary=a\r\n\r\n--ab\r\n\r\nx\r\n--a\r\n\r\ny\r\n--a--",
          "((\"text\" \"plain\" NIL NIL NIL \"7bit\" 1 0) \"mixed\")", false }, /* --ab is not ours */
    };

    (void)state;
    for (unsigned i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct buf out = BUF_INIT;

        structure(slice_str(rows[i].message), rows[i].extended, &out);
        same(i, buf_slice(&out), rows[i].want);
        buf_free(&out);
    }
}

static void mime_find__numbers_parts_as_imap(void **state)
{
    static const struct {
        uint32_t path[4];
        unsigned depth;
        const char *body; /* NULL: no such part */
    } rows[] = {
        { { 1 }, 1, "first\r\nline" }, { { 2, 1 }, 2, "=C3=A4" }, { { 2, 2 }, 2, "<p>" },
        { { 3 }, 1, "AAAA" },          { { 4 }, 1, NULL },        { { 0 }, 1, NULL },
        { { 1, 1 }, 2, NULL },         { { 2, 3 }, 2, NULL },     { { 2, 1, 1 }, 3, NULL },
        { { 3, 1 }, 2, NULL },
    };
    slice message = SLICE(NESTED);
    struct mime_part *top;
    struct arena mem;

    (void)state;
    arena_init(&mem, 4096);
    top = mime_parse(message, &mem);
    for (unsigned i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct mime_part *p = mime_find(top, rows[i].path, rows[i].depth);

        if ((p == NULL) != (rows[i].body == NULL))
            fail_msg("row %u", i);
        if (p != NULL)
            same(i, slice_sub(message, p->at + p->header_bytes, p->body_bytes), rows[i].body);
    }
    assert_ptr_equal(mime_find(top, NULL, 0), top);
    arena_free(&mem);
}

static void mime_decode_text__to_utf8(void **state)
{
    slice message = SLICE("Content-Type: text/plain; charset=iso-8859-1\r\n"
                          "Content-Transfer-Encoding: quoted-printable\r\n\r\nA=E4=\r\nB =41=\r\n");
    struct buf out = BUF_INIT;
    struct arena mem;

    (void)state;
    arena_init(&mem, 4096);
    assert_true(mime_decode_text(message, mime_parse(message, &mem), &out));
    same(0, buf_slice(&out),
         "A\xc3\xa4"
         "B A");
    buf_free(&out);
    arena_free(&mem);
}

/* A thousand nested multiparts: bounded depth, every octet looked at once. */
static void mime_parse__is_bounded(void **state)
{
    struct buf message = BUF_INIT, out = BUF_INIT;

    (void)state;
    for (unsigned i = 0; i < 1000; i++)
        buf_printf(&message, "Content-Type: multipart/mixed; boundary=b%u\r\n\r\n--b%u\r\n", i, i);
    structure(buf_slice(&message), true, &out);
    assert_true(out.len > 0);
    buf_reset(&message);
    buf_reset(&out);
    buf_put_str(&message, "Content-Type: multipart/mixed; boundary=b\r\n\r\n");
    for (unsigned i = 0; i < 100000; i++)
        buf_put_str(&message, "--b\r\n\r\n");
    structure(buf_slice(&message), true, &out);
    assert_in_range(out.len, 1, 60 * 2100);
    buf_free(&message);
    buf_free(&out);
}

static void imapform_envelope__table(void **state)
{
    static const struct {
        const char *header, *want;
    } rows[] = {
        { "Date: Wed, 17 Jul 1996 02:23:25 -0700 (PDT)\r\nFrom: Terry Gray <gray@cac.washington.edu>\r\n"
          "Subject: IMAP4rev2 WG mtg summary and minutes\r\nTo: imap@cac.washington.edu\r\n"
          "Cc: minutes@CNRI.Reston.VA.US, John Klensin <KLENSIN@MIT.EDU>\r\n"
          "Message-Id: <B27397-0100000@cac.washington.edu>\r\n\r\n",
          "(\"Wed, 17 Jul 1996 02:23:25 -0700 (PDT)\" \"IMAP4rev2 WG mtg summary and minutes\" "
          "((\"Terry Gray\" NIL \"gray\" \"cac.washington.edu\")) ((\"Terry Gray\" NIL \"gray\" "
          "\"cac.washington.edu\")) "
          "((\"Terry Gray\" NIL \"gray\" \"cac.washington.edu\")) ((NIL NIL \"imap\" \"cac.washington.edu\")) "
          "((NIL NIL \"minutes\" \"CNRI.Reston.VA.US\")(\"John Klensin\" NIL \"KLENSIN\" \"MIT.EDU\")) NIL NIL "
          "\"<B27397-0100000@cac.washington.edu>\")" }, /* RFC 9051 7.5.2 */
        { "", "(NIL NIL NIL NIL NIL NIL NIL NIL NIL NIL)" },
        { "Subject: \r\n\r\n", "(NIL \"\" NIL NIL NIL NIL NIL NIL NIL NIL)" },
        { "Subject: a\r\n b\r\nTo: g: x@y;\r\n\r\n",
          "(NIL \"a b\" NIL NIL NIL ((NIL NIL \"g\" NIL)(NIL NIL \"x\" \"y\")(NIL NIL NIL NIL)) NIL NIL NIL NIL)" },
        { "Subject: caf\xc3\xa9\r\n\r\n", "(NIL {5}\r\ncaf\xc3\xa9 NIL NIL NIL NIL NIL NIL NIL NIL)" },
        { "Subject: say \"hi\\\"\r\n\r\n", "(NIL \"say \\\"hi\\\\\\\"\" NIL NIL NIL NIL NIL NIL NIL NIL)" },
    };

    (void)state;
    for (unsigned i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct buf out = BUF_INIT;

        imapform_envelope(slice_str(rows[i].header), &out);
        same(i, buf_slice(&out), rows[i].want);
        buf_free(&out);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(imapform_body__table),      cmocka_unit_test(mime_find__numbers_parts_as_imap),
        cmocka_unit_test(mime_decode_text__to_utf8), cmocka_unit_test(mime_parse__is_bounded),
        cmocka_unit_test(imapform_envelope__table),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* mail_test.h - what the tests of the mail room share. */
#ifndef T_MAIL_TEST_H
#define T_MAIL_TEST_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/slice.h"

/* Compare text; the row that failed is named. */
static inline void same(unsigned row, slice have, const char *want)
{
    if (!slice_eq(have, slice_str(want)))
        fail_msg("row %u: have \"%.*s\", want \"%s\"", row, SLICE_ARG(have), want);
}

#endif

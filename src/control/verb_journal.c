#include "control/verb_journal.h"

#include <stdlib.h>
#include <sys/stat.h>
#include <sysexits.h>

#include "base/json.h"
#include "base/mem.h"
#include "control/progress.h"
#include "control/site.h"
#include "journal/bench.h"

#define EXIT_FAULTS 1
#define BENCH_ROW_MS 2000

static int open_failed(const struct verb_call *call, const struct err *err)
{
    switch (err->kind) {
    case ERR_NOTFOUND:
        return verb_fail(call, err, "name the data directory with --dir DIR or POSTHOUSE_DIR");
    case ERR_DENIED:
        if (err->sys != 0)
            return verb_fail(call, err, "run this as the user who owns %s", call->dir);
        return verb_fail(call, err, "stop what uses %s first; nothing was changed", call->dir);
    case ERR_FULL:
        return verb_fail(call, err, "free some space on the disk that holds %s", call->dir);
    case ERR_PERM:
        return verb_fail(call, err, "nothing was changed");
    default:
        return verb_fail(call, err, NULL);
    }
}

static int site_open_for(const struct verb_call *call, struct site *site, bool discard_index)
{
    struct progress progress;
    struct err err = ERR_INIT;
    struct site_setup setup = {
        .dir = call->dir,
        .discard_index = discard_index,
        .progress = progress_bytes,
        .progress_arg = &progress,
    };
    struct clock clock;
    int rc;

    clock_init_real(&clock);
    progress_begin(&progress, "reading the journal", &clock);
    rc = site_open(site, &setup, &err);
    progress_end(&progress);
    return rc < 0 ? open_failed(call, &err) : 0;
}

static json_t *report_json(const struct journal_report *r)
{
    json_t *o = json_object();

    json_object_set_new(o, "segments", json_integer((json_int_t)r->segments));
    json_object_set_new(o, "segments_bytes", json_integer((json_int_t)r->segments_bytes));
    json_object_set_new(o, "records_replayed", json_integer((json_int_t)r->records_replayed));
    json_object_set_new(o, "torn_bytes", json_integer((json_int_t)r->torn_bytes));
    json_object_set_new(o, "damaged_places", json_integer((json_int_t)r->damaged_places));
    json_object_set_new(o, "lost_records", json_integer((json_int_t)r->lost_records));
    json_object_set_new(o, "index_rebuilt", json_boolean(r->index_rebuilt));
    if (r->index_why[0] != '\0')
        json_object_set_new(o, "index_why", json_from_slice(slice_str(r->index_why)));
    return o;
}

static void json_out(json_t *o)
{
    struct buf text = BUF_INIT;

    json_print(&text, o, true);
    puts(buf_str(&text));
    buf_free(&text);
    json_decref(o);
}

/* --- check -------------------------------------------------------------------------------------------------------- */

struct findings {
    struct progress *progress;
    json_t *lines; /* NULL: print them as they come */
};

static void finding_say(void *arg, const char *line)
{
    struct findings *f = arg;

    if (f->lines != NULL) {
        json_array_append_new(f->lines, json_from_slice(slice_str(line)));
        return;
    }
    progress_end(f->progress);
    puts(line);
}

static void check_print(const struct site *site, const struct journal_check_result *r)
{
    if (site->report.torn_bytes != 0)
        printf("opening cut %llu unfinished octets off the tail, which nobody was promised\n",
               (unsigned long long)site->report.torn_bytes);
    if (site->report.damaged_places != 0)
        printf("damage in %llu places: %llu records are lost; the rest is readable (see the lines above)\n",
               (unsigned long long)site->report.damaged_places, (unsigned long long)site->report.lost_records);
    printf("%llu segments, %llu records, %llu bodies, %llu octets: %llu faults\n", (unsigned long long)r->segments,
           (unsigned long long)r->records, (unsigned long long)r->bodies, (unsigned long long)r->bytes,
           (unsigned long long)r->faults);
}

static json_t *check_json(const struct site *site, const struct journal_check_result *r, json_t *lines)
{
    json_t *o = json_object();

    json_object_set_new(o, "faults", json_integer((json_int_t)r->faults));
    json_object_set_new(o, "segments", json_integer((json_int_t)r->segments));
    json_object_set_new(o, "records", json_integer((json_int_t)r->records));
    json_object_set_new(o, "bodies", json_integer((json_int_t)r->bodies));
    json_object_set_new(o, "bytes", json_integer((json_int_t)r->bytes));
    json_object_set_new(o, "findings", lines);
    json_object_set_new(o, "opening", report_json(&site->report));
    return o;
}

int verb_run_check(const struct verb_call *call)
{
    struct progress progress;
    struct findings findings = { &progress, call->json ? json_array() : NULL };
    struct journal_check_result result = { .faults = 0 };
    struct err err = ERR_INIT;
    struct site site;
    int rc, code = site_open_for(call, &site, false);

    if (code != 0) {
        json_decref(findings.lines);
        return code;
    }
    progress_begin(&progress, "checking", &site.clock);
    progress_text(&progress, "segments, index, and an index rebuilt beside it");
    rc = journal_check(site.journal, finding_say, &findings, &result, &err);
    progress_end(&progress);
    if (rc < 0) {
        json_decref(findings.lines);
        code = verb_fail(call, &err, "the check could not run to its end; nothing was changed");
    } else {
        if (call->json)
            json_out(check_json(&site, &result, findings.lines));
        else
            check_print(&site, &result);
        code = result.faults != 0 || site.report.damaged_places != 0 ? EXIT_FAULTS : EX_OK;
    }
    site_close(&site);
    return code;
}

/* --- rebuild ------------------------------------------------------------------------------------------------------ */

int verb_run_rebuild(const struct verb_call *call)
{
    struct site site;
    int code = site_open_for(call, &site, true);

    if (code != 0)
        return code;
    if (call->json)
        json_out(report_json(&site.report));
    else
        printf("index rebuilt from %llu records in %llu segments\n", (unsigned long long)site.report.records_replayed,
               (unsigned long long)site.report.segments);
    if (!call->json && site.report.damaged_places != 0)
        printf("damage in %llu places: %llu records are lost; 'posthouse check' names them\n",
               (unsigned long long)site.report.damaged_places, (unsigned long long)site.report.lost_records);
    code = site.report.damaged_places != 0 ? EXIT_FAULTS : EX_OK;
    site_close(&site);
    return code;
}

/* --- bench journal ------------------------------------------------------------------------------------------------ */

/* 0: a number from 1 on, or the option was not given. */
static int number_option(const struct verb_call *call, const char *name, unsigned *out)
{
    const char *text = verb_option(call, name);
    struct err err = ERR_INIT;
    uint32_t n;

    if (text == NULL)
        return 0;
    if (!slice_u32(slice_str(text), &n) || n == 0) {
        err_set(&err, ERR_SYNTAX, "%s wants a number from 1 on, not '%s'", name, text);
        return verb_fail(call, &err, "see: posthouse help bench journal");
    }
    *out = n;
    return 0;
}

int verb_run_bench_journal(const struct verb_call *call)
{
    struct journal_bench bench = { .dir = call->dir, .row_ms = BENCH_ROW_MS, .json = call->json };
    const char *tmp = getenv("TMPDIR");
    struct err err = ERR_INIT;
    struct stat st;
    int code;

    if ((code = number_option(call, "--ms", &bench.row_ms)) != 0 ||
        (code = number_option(call, "--bytes", &bench.bytes)) != 0)
        return code;
    if (stat(call->dir, &st) < 0) /* no data yet: the disk of temporary files tells at least something */
        bench.dir = tmp != NULL && tmp[0] != '\0' ? tmp : "/tmp";
    if (!call->json)
        fprintf(stderr, "measuring in %s\n", bench.dir);
    if (journal_bench(&bench, stdout, &err) < 0)
        return verb_fail(call, &err, "name a directory on the disk to be measured with --dir DIR");
    return EX_OK;
}

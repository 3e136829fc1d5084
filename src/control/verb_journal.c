#include "control/verb_journal.h"

#include <stdlib.h>
#include <sys/stat.h>
#include <sysexits.h>

#include "base/json.h"
#include "control/rpc.h"
#include "control/verb_rpc.h"
#include "journal/bench.h"

#define EXIT_FAULTS 1
#define BENCH_ROW_MS 2000

static long long number(const json_t *o, const char *name)
{
    return json_get_int(o, name, 0);
}

/* --- check -------------------------------------------------------------------------------------------------------- */

static void check_print(const json_t *r)
{
    const json_t *opening = json_object_get(r, "opening"), *findings = json_object_get(r, "findings");

    for (size_t i = 0; i < json_array_size(findings); i++)
        printf("%s\n", json_string_value(json_array_get(findings, i)));
    if (number(opening, "torn_bytes") != 0)
        printf("opening cut %lld unfinished octets off the tail, which nobody was promised\n",
               number(opening, "torn_bytes"));
    if (number(opening, "damaged_places") != 0)
        printf("damage in %lld places: %lld records are lost; the rest is readable\n",
               number(opening, "damaged_places"), number(opening, "lost_records"));
    printf("%lld segments, %lld records, %lld bodies, %lld octets: %lld faults\n", number(r, "segments"),
           number(r, "records"), number(r, "bodies"), number(r, "bytes"), number(r, "faults"));
}

int verb_run_check(const struct verb_call *call)
{
    json_t *result = NULL;
    int code = verb_method(call, "check", NULL, &result);

    if (code == EX_OK) {
        if (call->json)
            verb_print(call, result);
        else
            check_print(result);
        if (number(result, "faults") != 0 || number(json_object_get(result, "opening"), "damaged_places") != 0)
            code = EXIT_FAULTS;
    }
    json_decref(result);
    return code;
}

/* --- rebuild ------------------------------------------------------------------------------------------------------ */

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
    return o;
}

static int rebuild_here(const struct verb_call *call)
{
    struct site site;
    json_t *report;
    int code = verb_site_open(call, &site, true);

    if (code != 0)
        return code;
    report = report_json(&site.report);
    if (call->json)
        verb_print(call, report);
    else
        printf("index rebuilt from %lld records in %lld segments\n", number(report, "records_replayed"),
               number(report, "segments"));
    if (!call->json && site.report.damaged_places != 0)
        printf("damage in %lld places: %lld records are lost; 'posthouse check' names them\n",
               number(report, "damaged_places"), number(report, "lost_records"));
    json_decref(report);
    site_close(&site);
    return site.report.damaged_places != 0 ? EXIT_FAULTS : EX_OK;
}

int verb_run_rebuild(const struct verb_call *call)
{
    struct client_conn conn;
    struct err err = ERR_INIT;
    json_t *result;
    int code;

    if (client_open(&conn, call->dir, &err) < 0)
        return err.kind == ERR_NOTFOUND ? rebuild_here(call) : verb_open_failed(call, &err);
    client_close(&conn);
    code = verb_method(call, "rebuild", NULL, &result);
    if (code == EX_OK)
        verb_print(call, result);
    json_decref(result);
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

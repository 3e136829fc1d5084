#include "control/verb.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>

#include "base/json.h"
#include "base/keys.h"
#include "base/mem.h"
#include "net/tls.h"

#define NEAR 3 /* edit distance up to which a word is offered instead */

static const struct verb_option common_options[] = {
    { "--dir", "DIR", "data directory (else POSTHOUSE_DIR, else " VERB_DIR_DEFAULT ")" },
    { "--json", NULL, "answer with one JSON value" },
    { "--help", NULL, "show this help" },
    { NULL, NULL, NULL },
};

/* --- failures ----------------------------------------------------------------------------------------------------- */

int verb_exit_code(enum err_kind kind)
{
    static const struct {
        enum err_kind kind;
        int code;
    } rows[] = {
        { ERR_NONE, EX_OK },           { ERR_TEMP, EX_TEMPFAIL },    { ERR_PERM, EX_UNAVAILABLE },
        { ERR_NOTFOUND, EX_NOINPUT },  { ERR_EXISTS, EX_DATAERR },   { ERR_DENIED, EX_NOPERM },
        { ERR_QUOTA, EX_UNAVAILABLE }, { ERR_LIMIT, EX_UNAVAILABLE }, { ERR_FULL, EX_CANTCREAT },
        { ERR_SYNTAX, EX_USAGE },      { ERR_CONFLICT, EX_DATAERR }, { ERR_DAMAGE, EX_IOERR },
        { ERR_BUG, EX_SOFTWARE },
    };

    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        if (rows[i].kind == kind)
            return rows[i].code;
    return EX_SOFTWARE;
}

static void fail_json(const struct err *err, const char *hint)
{
    json_t *o = json_pack("{s:{s:s}}", "error", "kind", err_kind_name(err->kind));
    json_t *inner = json_object_get(o, "error");
    struct buf out = BUF_INIT;

    json_object_set_new(inner, "text", json_from_slice(slice_str(err->text)));
    if (hint != NULL)
        json_object_set_new(inner, "hint", json_from_slice(slice_str(hint)));
    json_print(&out, o, false);
    printf("%s\n", buf_str(&out));
    buf_free(&out);
    json_decref(o);
}

int verb_fail(const struct verb_call *call, const struct err *err, const char *hint, ...)
{
    struct buf text = BUF_INIT;
    va_list ap;

    if (hint != NULL) {
        va_start(ap, hint);
        buf_vprintf(&text, hint, ap);
        va_end(ap);
    }
    fflush(stdout);
    if (call->json) {
        fail_json(err, hint != NULL ? buf_str(&text) : NULL);
    } else {
        fprintf(stderr, "posthouse: %s\n", err->text);
        if (hint != NULL)
            fprintf(stderr, "posthouse: %s\n", buf_str(&text));
    }
    buf_free(&text);
    return verb_exit_code(err->kind);
}

/* --- finding ------------------------------------------------------------------------------------------------------ */

static const struct verb *verb_find(const struct verb_table *t, slice name, slice sub)
{
    for (size_t i = 0; i < t->count; i++)
        if (slice_eq(slice_str(t->rows[i].name), name) && slice_eq(slice_str(t->rows[i].sub), sub))
            return &t->rows[i];
    return NULL;
}

static bool name_exists(const struct verb_table *t, slice name)
{
    for (size_t i = 0; i < t->count; i++)
        if (slice_eq(slice_str(t->rows[i].name), name))
            return true;
    return false;
}

/* A candidate must be near in itself and in proportion, as keys_nearest has it. */
static void nearest_offer(slice word, const char *candidate, unsigned *best, const char **found)
{
    unsigned d = edit_distance(word, slice_str(candidate), NEAR);

    if (d <= NEAR && d <= (word.len + 1) / 2 && d < *best) {
        *best = d;
        *found = candidate;
    }
}

const char *verb_nearest(const struct verb_table *t, slice word)
{
    const char *found = NULL;
    unsigned best = NEAR + 1;

    for (size_t i = 0; i < t->count; i++)
        nearest_offer(word, t->rows[i].name, &best, &found);
    return found;
}

const char *verb_nearest_sub(const struct verb_table *t, slice name, slice word)
{
    const char *found = NULL;
    unsigned best = NEAR + 1;

    for (size_t i = 0; i < t->count; i++)
        if (t->rows[i].sub != NULL && slice_eq(slice_str(t->rows[i].name), name))
            nearest_offer(word, t->rows[i].sub, &best, &found);
    return found;
}

static const struct verb_option *option_find(const struct verb_option *list, slice name)
{
    for (; list != NULL && list->name != NULL; list++)
        if (slice_eq(slice_str(list->name), name))
            return list;
    return NULL;
}

static const char *option_nearest(const struct verb *v, slice name)
{
    const char *found = NULL;
    unsigned best = NEAR + 1;

    for (const struct verb_option *o = v->options; o != NULL && o->name != NULL; o++)
        nearest_offer(name, o->name, &best, &found);
    for (const struct verb_option *o = common_options; o->name != NULL; o++)
        nearest_offer(name, o->name, &best, &found);
    return found;
}

const char *verb_option(const struct verb_call *call, const char *name)
{
    const struct verb_option *o = option_find(call->verb->options, slice_str(name));

    return o == NULL ? NULL : call->values[o - call->verb->options];
}

/* --- help --------------------------------------------------------------------------------------------------------- */

void verb_usage(const struct verb *v, struct buf *out)
{
    buf_printf(out, "posthouse %s", v->name);
    if (v->sub != NULL)
        buf_printf(out, " %s", v->sub);
    if (v->operands != NULL)
        buf_printf(out, " %s", v->operands);
    for (const struct verb_option *o = v->options; o != NULL && o->name != NULL; o++) {
        buf_printf(out, " [%s", o->name);
        if (o->value != NULL)
            buf_printf(out, " %s", o->value);
        buf_put_str(out, "]");
    }
}

static void title_put(const struct verb *v, struct buf *out)
{
    buf_put_str(out, v->name);
    if (v->sub != NULL)
        buf_printf(out, " %s", v->sub);
}

void verb_help_all(const struct verb_table *t, struct buf *out)
{
    buf_put_str(out, "usage: posthouse VERB [ARGUMENTS] [--dir DIR] [--json]\n\n");
    for (size_t i = 0; i < t->count; i++) {
        struct buf title = BUF_INIT;

        title_put(&t->rows[i], &title);
        buf_printf(out, "  %-20s %s\n", buf_str(&title), t->rows[i].help);
        buf_free(&title);
    }
    buf_put_str(out, "\nThe data directory is --dir, else POSTHOUSE_DIR, else " VERB_DIR_DEFAULT ".\n"
                     "More about one verb: posthouse help VERB\n");
}

static void options_put(const struct verb_option *list, struct buf *out)
{
    for (; list != NULL && list->name != NULL; list++) {
        struct buf name = BUF_INIT;

        buf_put_str(&name, list->name);
        if (list->value != NULL)
            buf_printf(&name, " %s", list->value);
        buf_printf(out, "  %-20s %s\n", buf_str(&name), list->text);
        buf_free(&name);
    }
}

static void help_one(const struct verb *v, struct buf *out)
{
    static const char *const where_text[] = {
        [VERB_ALONE] = "Runs by itself.",
        [VERB_OFFLINE] = "Works on the data directory; the daemon must be down.",
        [VERB_ONLINE] = "Asks the running daemon.",
        [VERB_BOTH] = "Asks the running daemon, or works on the data directory when it is down.",
    };

    buf_put_str(out, "usage: ");
    verb_usage(v, out);
    buf_printf(out, "\n\n%s.\n%s\n\n", v->help, where_text[v->where]);
    options_put(v->options, out);
    options_put(common_options, out);
}

bool verb_help(const struct verb_table *t, slice name, slice sub, struct buf *out)
{
    const struct verb *v = verb_find(t, name, sub);

    if (v != NULL) {
        help_one(v, out);
        return true;
    }
    if (sub.len != 0 || !name_exists(t, name))
        return false;
    for (size_t i = 0; i < t->count; i++)
        if (slice_eq(slice_str(t->rows[i].name), name)) {
            struct buf usage = BUF_INIT;

            verb_usage(&t->rows[i], &usage);
            buf_printf(out, "%s\n    %s\n", buf_str(&usage), t->rows[i].help);
            buf_free(&usage);
        }
    return true;
}

/* Words after `name`, separated by spaces. */
static void words_of(const struct verb_table *t, const char *name, struct buf *out)
{
    for (size_t i = 0; i < t->count; i++) {
        if (strcmp(t->rows[i].name, name) != 0)
            continue;
        if (t->rows[i].sub != NULL)
            buf_printf(out, "%s ", t->rows[i].sub);
        for (const struct verb_option *o = t->rows[i].options; o != NULL && o->name != NULL; o++)
            if (slice_find(buf_slice(out), slice_str(o->name)) < 0)
                buf_printf(out, "%s ", o->name);
    }
    for (const struct verb_option *o = common_options; o->name != NULL; o++)
        buf_printf(out, "%s%s", o->name, o[1].name != NULL ? " " : "");
}

void verb_completion_bash(const struct verb_table *t, struct buf *out)
{
    buf_put_str(out, "# bash completion of posthouse; made by: posthouse completion bash\n"
                     "_posthouse() {\n"
                     "    local word=${COMP_WORDS[COMP_CWORD]} words\n"
                     "    case ${COMP_WORDS[COMP_CWORD-1]} in --dir) COMPREPLY=($(compgen -d -- \"$word\")); return;; "
                     "esac\n"
                     "    case $COMP_CWORD:${COMP_WORDS[1]} in\n"
                     "    1:*) words='");
    for (size_t i = 0; i < t->count; i++)
        if (i == 0 || strcmp(t->rows[i].name, t->rows[i - 1].name) != 0)
            buf_printf(out, "%s%s", i == 0 ? "" : " ", t->rows[i].name);
    buf_put_str(out, "' ;;\n");
    for (size_t i = 0; i < t->count; i++)
        if (i == 0 || strcmp(t->rows[i].name, t->rows[i - 1].name) != 0) {
            struct buf words = BUF_INIT;

            words_of(t, t->rows[i].name, &words);
            buf_printf(out, "    *:%s) words='%s' ;;\n", t->rows[i].name, buf_str(&words));
            buf_free(&words);
        }
    buf_put_str(out, "    esac\n"
                     "    COMPREPLY=($(compgen -W \"$words\" -- \"$word\"))\n"
                     "}\n"
                     "complete -o default -F _posthouse posthouse\n");
}

/* --- the arguments ------------------------------------------------------------------------------------------------ */

static int usage_error(const struct verb_call *call, const char *hint, const char *fmt, ...) PRINTF_LIKE(3, 4);
static int usage_error(const struct verb_call *call, const char *hint, const char *fmt, ...)
{
    struct err err = { .kind = ERR_SYNTAX };
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(err.text, sizeof err.text, fmt, ap);
    va_end(ap);
    return verb_fail(call, &err, "%s", hint);
}

static int usage_of_verb(const struct verb_call *call, const char *what, const char *word)
{
    struct buf usage = BUF_INIT;
    int code;

    buf_put_str(&usage, "usage: ");
    verb_usage(call->verb, &usage);
    code = word != NULL ? usage_error(call, buf_str(&usage), "%s: %s", what, word)
                        : usage_error(call, buf_str(&usage), "%s", what);
    buf_free(&usage);
    return code;
}

static int print_and_free(struct buf *text)
{
    fputs(buf_str(text), stdout);
    buf_free(text);
    return fflush(stdout) == 0 ? EX_OK : EX_IOERR;
}

/* Rows of this verb say what may follow; name is known to exist. */
static int sub_verb_error(const struct verb_call *call, const char *name, const char *word)
{
    const char *near = word == NULL ? NULL : verb_nearest_sub(call->table, slice_str(name), slice_str(word));
    struct buf hint = BUF_INIT;
    int code;

    if (near != NULL) {
        buf_printf(&hint, "did you mean 'posthouse %s %s'?", name, near);
    } else {
        buf_printf(&hint, "one of these is needed:");
        for (size_t i = 0; i < call->table->count; i++)
            if (strcmp(call->table->rows[i].name, name) == 0 && call->table->rows[i].sub != NULL)
                buf_printf(&hint, " %s", call->table->rows[i].sub);
    }
    code = word == NULL ? usage_error(call, buf_str(&hint), "'posthouse %s' needs a sub-verb", name)
                        : usage_error(call, buf_str(&hint), "'posthouse %s' knows no '%s'", name, word);
    buf_free(&hint);
    return code;
}

/* Find the row of the first one or two words; used is how many were taken. Returns 0 or an exit code. */
static int row_choose(struct verb_call *call, const char *const *words, unsigned count, unsigned *used)
{
    slice name = slice_str(words[0]);
    const char *near;

    if (count > 1 && (call->verb = verb_find(call->table, name, slice_str(words[1]))) != NULL) {
        *used = 2;
        return 0;
    }
    if ((call->verb = verb_find(call->table, name, SLICE_NONE)) != NULL) {
        *used = 1;
        return 0;
    }
    if (name_exists(call->table, name))
        return sub_verb_error(call, words[0], count > 1 ? words[1] : NULL);
    near = verb_nearest(call->table, name);
    if (near == NULL)
        return usage_error(call, "'posthouse help' lists all verbs", "unknown verb '%s'", words[0]);
    return usage_error(call, "'posthouse help' lists all verbs", "unknown verb '%s'; did you mean '%s'?", words[0],
                       near);
}

struct given {
    const char *words[VERB_OPERANDS_MAX + 2];
    unsigned count;
    const char *options[VERB_OPTIONS_MAX + 4]; /* as written, from "--" on */
    const char *following[VERB_OPTIONS_MAX + 4]; /* the argument after it: its value, if the row wants one */
    unsigned following_word[VERB_OPTIONS_MAX + 4]; /* where that stands in words, or the count at that time */
    unsigned option_count;
    bool wants_help, wants_version;
};

/* Options that are known without the verb. Returns how many arguments were used: 0, 1 or 2; -1: value missing. */
static int common_take(struct verb_call *call, struct given *g, const char *arg, const char *next)
{
    if (strcmp(arg, "--help") == 0 || strcmp(arg, "-h") == 0) {
        g->wants_help = true;
        return 1;
    }
    if (strcmp(arg, "--version") == 0) {
        g->wants_version = true;
        return 1;
    }
    if (strcmp(arg, "--json") == 0) {
        call->json = true;
        return 1;
    }
    if (strncmp(arg, "--dir=", 6) == 0) {
        call->dir = arg + 6;
        return call->dir[0] == '\0' ? -1 : 1;
    }
    if (strcmp(arg, "--dir") != 0)
        return 0;
    call->dir = next;
    return next == NULL || next[0] == '\0' ? -1 : 2;
}

/* Sort the arguments into words and options. Which option takes a value is known only with the verb, so its follower is
 * kept in both lists, and option_store takes it out of the words again. */
static int args_sort(struct verb_call *call, struct given *g, int argc, char **argv)
{
    bool only_words = false;

    for (int i = 1; i < argc; i++)
        if (strcmp(argv[i], "--json") == 0) /* an error about an earlier argument is for programs, too */
            call->json = true;
        else if (strcmp(argv[i], "--") == 0)
            break;
    for (int i = 1; i < argc; i++) {
        const char *next = i + 1 < argc ? argv[i + 1] : NULL;
        int used = only_words ? 0 : common_take(call, g, argv[i], next);

        if (used < 0)
            return usage_error(call, "example: posthouse status --dir " VERB_DIR_DEFAULT, "--dir needs a directory");
        if (used > 0) {
            i += used - 1;
        } else if (!only_words && strcmp(argv[i], "--") == 0) {
            only_words = true;
        } else if (!only_words && argv[i][0] == '-' && argv[i][1] != '\0') {
            if (g->option_count == ARRAY_LEN(g->options))
                return usage_error(call, "'posthouse help VERB' lists the options of a verb", "too many options");
            g->options[g->option_count] = argv[i];
            g->following[g->option_count] = next;
            g->following_word[g->option_count++] = g->count;
        } else {
            if (g->count == ARRAY_LEN(g->words))
                return usage_error(call, "'posthouse help VERB' shows the usage of a verb", "too many arguments");
            g->words[g->count++] = argv[i];
        }
    }
    return 0;
}

static int option_unknown(const struct verb_call *call, slice name)
{
    const char *near = option_nearest(call->verb, name);
    struct buf text = BUF_INIT;
    int code;

    buf_printf(&text, "unknown option %.*s", SLICE_ARG(name));
    if (near != NULL)
        buf_printf(&text, "; did you mean %s?", near);
    code = usage_of_verb(call, buf_str(&text), NULL);
    buf_free(&text);
    return code;
}

/* taken: words that turned out to be values of options. */
static int option_store(struct verb_call *call, const struct given *g, unsigned i, bool *taken)
{
    slice rest = slice_str(g->options[i]);
    bool has_value;
    slice name = slice_cut(&rest, '=', &has_value);
    const struct verb_option *o = option_find(call->verb->options, name);
    unsigned word = g->following_word[i];

    if (o == NULL)
        return option_unknown(call, name);
    if (o->value == NULL) {
        if (has_value)
            return usage_of_verb(call, "this option takes no value", o->name);
        call->values[o - call->verb->options] = "";
        return 0;
    }
    if (has_value) {
        call->values[o - call->verb->options] = (const char *)rest.ptr;
        return 0;
    }
    if (g->following[i] == NULL || word >= g->count || g->words[word] != g->following[i])
        return usage_of_verb(call, "this option needs a value", o->name);
    call->values[o - call->verb->options] = g->following[i];
    taken[word] = true;
    return 0;
}

/* Options may stand before the verb only if they are common ones, so the first word is the verb. */
static int args_store(struct verb_call *call, struct given *g)
{
    bool taken[ARRAY_LEN(g->words)] = { false };
    unsigned used = 0;
    int code;

    if ((code = row_choose(call, g->words, g->count, &used)) != 0)
        return code;
    if (g->wants_help)
        return 0;
    for (unsigned i = 0; i < g->option_count; i++)
        if ((code = option_store(call, g, i, taken)) != 0)
            return code;
    for (unsigned i = used; i < g->count; i++) {
        if (taken[i])
            continue;
        if (call->operand_count == call->verb->operands_max)
            return usage_of_verb(call, "one argument too many", g->words[i]);
        call->operands[call->operand_count++] = g->words[i];
    }
    if (call->operand_count < call->verb->operands_min)
        return usage_of_verb(call, "an argument is missing", NULL);
    return 0;
}

int verb_main(const struct verb_table *t, int argc, char **argv)
{
    struct verb_call call = { .table = t, .program = argc > 0 ? argv[0] : "posthouse" };
    struct given given = { .count = 0 };
    struct buf text = BUF_INIT;
    int code = args_sort(&call, &given, argc, argv);

    if (code != 0)
        return code;
    if (given.wants_version) {
        printf("posthouse " POSTHOUSE_VERSION " (%s)\n", tls_library());
        return EX_OK;
    }
    if (given.count == 0) {
        verb_help_all(t, &text);
        if (given.wants_help)
            return print_and_free(&text);
        fputs(buf_str(&text), stderr);
        buf_free(&text);
        return EX_USAGE;
    }
    if (call.dir == NULL)
        call.dir = getenv("POSTHOUSE_DIR");
    if (call.dir == NULL || call.dir[0] == '\0')
        call.dir = VERB_DIR_DEFAULT;
    if (given.wants_help && given.count == 1 && name_exists(t, slice_str(given.words[0]))) {
        verb_help(t, slice_str(given.words[0]), SLICE_NONE, &text);
        return print_and_free(&text);
    }
    if ((code = args_store(&call, &given)) != 0)
        return code;
    if (given.wants_help) {
        help_one(call.verb, &text);
        return print_and_free(&text);
    }
    return call.verb->run(&call);
}

/* --- verbs about verbs -------------------------------------------------------------------------------------------- */

int verb_run_help(const struct verb_call *call)
{
    struct buf text = BUF_INIT;
    const char *name = call->operand_count > 0 ? call->operands[0] : NULL;
    const char *sub = call->operand_count > 1 ? call->operands[1] : NULL;

    if (name == NULL) {
        verb_help_all(call->table, &text);
        return print_and_free(&text);
    }
    if (verb_help(call->table, slice_str(name), slice_str(sub), &text))
        return print_and_free(&text);
    if (sub != NULL && name_exists(call->table, slice_str(name)))
        return sub_verb_error(call, name, sub);
    sub = verb_nearest(call->table, slice_str(name));
    return sub != NULL ? usage_error(call, "'posthouse help' lists all verbs", "unknown verb '%s'; did you mean '%s'?",
                                     name, sub)
                       : usage_error(call, "'posthouse help' lists all verbs", "unknown verb '%s'", name);
}

int verb_run_completion(const struct verb_call *call)
{
    struct buf text = BUF_INIT;

    if (strcmp(call->operands[0], "bash") != 0)
        return usage_error(call, "usage: posthouse completion bash", "no completion for '%s'", call->operands[0]);
    verb_completion_bash(call->table, &text);
    return print_and_free(&text);
}

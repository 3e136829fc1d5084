#include "config/init.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sysexits.h>
#include <unistd.h>

#include "base/mem.h"
#include "config/load.h"
#include "config/write.h"
#include "control/rpc.h"
#include "control/verb_rpc.h"
#include "net/tls_make.h"

#define PORT_OFFSET_MAX 64000
#define NAME_OCTETS_MAX 255 /* RFC 1035 2.3.4 */

struct init {
    const struct verb_call *call;
    const char *hostname, *domain, *listen, *user;
    uint32_t port_offset;
    struct site site;
    struct conf_set *conf;
    bool made_certificate;
};

/* --- what is asked for -------------------------------------------------------------------------------------------- */

static bool is_name(const char *name)
{
    slice rest = slice_str(name);

    if (rest.len == 0 || rest.len > NAME_OCTETS_MAX)
        return false;
    for (bool more = true; more;) {
        slice label = slice_cut(&rest, '.', &more);

        if (label.len == 0)
            return false;
        for (size_t i = 0; i < label.len; i++)
            if (!ascii_is_alnum(label.ptr[i]) && label.ptr[i] != '-' && label.ptr[i] < 0x80)
                return false;
    }
    return true;
}

static int options_read(struct init *in, struct err *err)
{
    const char *offset = verb_option(in->call, "--port-offset");

    in->hostname = verb_option(in->call, "--hostname");
    in->domain = verb_option(in->call, "--domain");
    in->listen = verb_option(in->call, "--listen");
    in->user = verb_option(in->call, "--user");
    if (in->hostname == NULL || in->domain == NULL)
        return err_set(err, ERR_SYNTAX, "--hostname and --domain are needed");
    if (!is_name(in->hostname))
        return err_set(err, ERR_SYNTAX, "--hostname: '%.80s' is no host name", in->hostname);
    if (!is_name(in->domain))
        return err_set(err, ERR_SYNTAX, "--domain: '%.80s' is no domain name", in->domain);
    if (offset != NULL && (!slice_u32(slice_str(offset), &in->port_offset) || in->port_offset > PORT_OFFSET_MAX))
        return err_set(err, ERR_SYNTAX, "--port-offset wants a number from 0 to %d, not '%.80s'", PORT_OFFSET_MAX,
                       offset);
    if (in->user == NULL && verb_option(in->call, "--password-stdin") != NULL)
        return err_set(err, ERR_SYNTAX, "--password-stdin goes with --user");
    return 0;
}

/* --- files -------------------------------------------------------------------------------------------------------- */

static int directory_make(const char *path, mode_t mode, struct err *err)
{
    struct stat st;

    if (mkdir(path, mode) == 0)
        return 0;
    if (errno != EEXIST)
        return err_sys(err, errno, "making %s", path);
    if (stat(path, &st) < 0 || !S_ISDIR(st.st_mode))
        return err_set(err, ERR_PERM, "%s is no directory", path);
    return 0;
}

static int directories_make(struct init *in, struct err *err)
{
    static const char *const below[] = { "tls", "run" };
    struct buf path = BUF_INIT;
    int rc = directory_make(in->call->dir, 0755, err);

    for (size_t i = 0; i < ARRAY_LEN(below) && rc == 0; i++) {
        buf_reset(&path);
        buf_printf(&path, "%s/%s", in->call->dir, below[i]);
        rc = directory_make(buf_str(&path), i == 0 ? 0700 : 0755, err);
    }
    buf_free(&path);
    return rc;
}

/* The smallest document that serves: everything else has a default. */
static json_t *document_make(const struct init *in)
{
    json_t *o = json_object(), *server = json_object();

    json_object_set_new(o, "description",
                        json_string("Everything not named here has a default: posthouse config show --effective. "
                                    "What a key means: posthouse config describe KEY. Domains and users are kept by "
                                    "'posthouse domain' and 'posthouse user'."));
    json_object_set_new(server, "hostname", json_from_slice(slice_str(in->hostname)));
    if (in->port_offset != 0)
        json_object_set_new(server, "port_offset", json_integer(in->port_offset));
    json_object_set_new(o, "server", server);
    if (in->listen != NULL)
        json_object_set_new(o, "net", json_pack("{s:[o]}", "listen", json_from_slice(slice_str(in->listen))));
    json_object_set_new(o, "dir", json_pack("{s:o}", "default_domain", json_from_slice(slice_str(in->domain))));
    return o;
}

static int document_write(struct init *in, struct err *err)
{
    struct buf path = BUF_INIT, text = BUF_INIT;
    json_t *o = document_make(in);
    unsigned problems;
    int rc;

    buf_printf(&path, "%s/" CONFIG_FILE, in->call->dir);
    json_print(&text, o, true);
    buf_put_byte(&text, '\n');
    in->conf = config_parse(buf_slice(&text), 1, config_report_line, &text, &problems);
    rc = in->conf == NULL ? err_set(err, ERR_SYNTAX, "%s", buf_str(&text) + (text.len > 200 ? text.len - 200 : 0))
                          : config_write(buf_str(&path), o, err);
    json_decref(o);
    buf_free(&text);
    buf_free(&path);
    return rc;
}

static int certificate_make(struct init *in, struct err *err)
{
    struct buf cert = BUF_INIT, key = BUF_INIT;
    int rc = 0;

    buf_printf(&cert, "%s/tls/cert.pem", in->call->dir);
    buf_printf(&key, "%s/tls/key.pem", in->call->dir);
    if (access(buf_str(&cert), F_OK) < 0) {
        rc = tls_self_signed(in->hostname, buf_str(&cert), buf_str(&key), err);
        in->made_certificate = rc == 0;
    }
    buf_free(&cert);
    buf_free(&key);
    return rc;
}

/* --- the directory's first entries -------------------------------------------------------------------------------- */

/* A method of the status socket on the data that init has open. */
static int method(struct init *in, rpc_fn *run, TAKES json_t *params, struct err *err)
{
    struct rpc_env env = { .dir = in->call->dir, .site = &in->site, .conf = in->conf };
    struct rpc_call call = { .env = &env, .conf = in->conf, .params = params };
    int rc = run(&call, err);

    json_decref(call.result);
    json_decref(params);
    /* An init that failed half-way is run again over what it had made. */
    return rc < 0 && err->kind == ERR_EXISTS ? 0 : rc;
}

static int user_make(struct init *in, const char *address, bool with_password, struct err *err)
{
    json_t *params = json_pack("{s:o}", "address", json_from_slice(slice_str(address)));
    struct buf password = BUF_INIT;
    int rc = 0;

    if (with_password && (rc = verb_password(&password, true, err)) == 0)
        json_object_set_new(params, "password", json_from_slice(buf_slice(&password)));
    if (password.len > 0)
        mem_wipe(password.ptr, password.len);
    buf_free(&password);
    if (rc == 0)
        return method(in, rpc_user_add, params, err);
    json_decref(params);
    return rc;
}

/* RFC 5321 4.5.1 and RFC 2142: mail to postmaster and abuse must reach somebody. */
static int entries_make(struct init *in, struct err *err)
{
    struct buf owner = BUF_INIT, alias = BUF_INIT;
    bool own_mailbox = in->user == NULL;
    int rc;

    if (own_mailbox)
        buf_printf(&owner, "postmaster@%s", in->domain);
    else
        buf_printf(&owner, "%s%s%s", in->user, strchr(in->user, '@') == NULL ? "@" : "",
                   strchr(in->user, '@') == NULL ? in->domain : "");
    rc = method(in, rpc_domain_add, json_pack("{s:s}", "domain", in->domain), err);
    if (rc == 0)
        rc = user_make(in, buf_str(&owner), !own_mailbox, err);
    for (int i = own_mailbox; i < 2 && rc == 0; i++) {
        buf_reset(&alias);
        buf_printf(&alias, "%s@%s", i == 0 ? "postmaster" : "abuse", in->domain);
        if (!slice_eq_nocase(buf_slice(&alias), buf_slice(&owner)))
            rc = method(in, rpc_alias_set,
                        json_pack("{s:s, s:[s]}", "address", buf_str(&alias), "target", buf_str(&owner)), err);
    }
    buf_free(&owner);
    buf_free(&alias);
    return rc;
}

static int data_make(struct init *in, struct err *err)
{
    struct site_setup setup = { .dir = in->call->dir, .conf = in->conf, .create = true };
    int rc;

    if (site_open(&in->site, &setup, err) < 0)
        return -1;
    rc = entries_make(in, err);
    site_close(&in->site);
    return rc;
}

/* --- what is said ------------------------------------------------------------------------------------------------- */

struct dns_row {
    const char *name; /* %s: the domain */
    const char *type;
    const char *value; /* %s: the host */
};

static const struct dns_row dns_rows[] = {
    { "%s.", "MX", "10 %s." },
    { "%s.", "TXT", "\"v=spf1 mx -all\"" },                                 /* RFC 7208 */
    { "_dmarc.%s.", "TXT", "\"v=DMARC1; p=none; rua=mailto:postmaster@%d\"" }, /* RFC 7489 6.3 */
    { "_submission._tcp.%s.", "SRV", "0 1 587 %s." },                       /* RFC 6186 3.1 */
    { "_submissions._tcp.%s.", "SRV", "0 1 465 %s." },                      /* RFC 8314 5.1 */
    { "_imaps._tcp.%s.", "SRV", "0 1 993 %s." },
    { "_imap._tcp.%s.", "SRV", "0 1 143 %s." },
    { "_pop3s._tcp.%s.", "SRV", "0 1 995 %s." },
};

/* %s: word; %d: the domain */
static void fill(struct buf *out, const char *form, const char *word, const char *domain)
{
    for (; *form != '\0'; form++)
        if (form[0] == '%' && (form[1] == 's' || form[1] == 'd'))
            buf_put_str(out, *++form == 's' ? word : domain);
        else
            buf_put_byte(out, (unsigned char)*form);
}

static json_t *dns_json(const struct init *in)
{
    json_t *rows = json_array();

    for (size_t i = 0; i < ARRAY_LEN(dns_rows); i++) {
        struct buf name = BUF_INIT, value = BUF_INIT;

        fill(&name, dns_rows[i].name, in->domain, in->domain);
        fill(&value, dns_rows[i].value, in->hostname, in->domain);
        json_array_append_new(rows, json_pack("{s:s, s:s, s:s}", "name", buf_str(&name), "type", dns_rows[i].type,
                                              "value", buf_str(&value)));
        buf_free(&name);
        buf_free(&value);
    }
    return rows;
}

static void said(const struct init *in)
{
    json_t *rows = dns_json(in);
    const char *name, *type, *value;

    printf("%s is ready: %s/" CONFIG_FILE ", domain %s.\n", in->call->dir, in->call->dir, in->domain);
    if (in->made_certificate)
        printf("The certificate in %s/tls is self-signed; put a real one there and run 'posthouse reload'.\n",
               in->call->dir);
    if (in->user == NULL)
        printf("Mail to postmaster and abuse goes to the mailbox postmaster@%s; give it a password with\n"
               "    posthouse user passwd postmaster@%s --dir %s\n",
               in->domain, in->domain, in->call->dir);
    printf("\nSet these DNS records:\n\n");
    for (size_t i = 0; i < json_array_size(rows); i++) {
        json_unpack(json_array_get(rows, i), "{s:s, s:s, s:s}", "name", &name, "type", &type, "value", &value);
        printf("    %-32s IN %-4s %s\n", name, type, value);
    }
    printf("    %s. IN A / AAAA  the addresses of this machine, whose PTR must say %s.\n", in->hostname, in->hostname);
    printf("\nStart it with:\n    posthouse run --dir %s\n", in->call->dir);
    json_decref(rows);
}

static void said_json(const struct init *in)
{
    json_t *o = json_object();

    json_object_set_new(o, "dir", json_from_slice(slice_str(in->call->dir)));
    json_object_set_new(o, "hostname", json_from_slice(slice_str(in->hostname)));
    json_object_set_new(o, "domain", json_from_slice(slice_str(in->domain)));
    json_object_set_new(o, "self_signed", json_boolean(in->made_certificate));
    json_object_set_new(o, "dns", dns_json(in));
    verb_print(in->call, o);
    json_decref(o);
}

int init_verb_run(const struct verb_call *call)
{
    struct init in = { .call = call };
    struct err err = ERR_INIT;
    struct buf path = BUF_INIT, usage = BUF_INIT;
    int code = EX_OK;

    if (options_read(&in, &err) < 0) {
        verb_usage(call->verb, &usage);
        code = verb_fail(call, &err, "usage: %s", buf_str(&usage));
        goto out;
    }
    buf_printf(&path, "%s/" CONFIG_FILE, call->dir);
    if (access(buf_str(&path), F_OK) == 0) {
        err_set(&err, ERR_EXISTS, "%s is there already; nothing was changed", buf_str(&path));
        code = verb_fail(call, &err, "start it with 'posthouse run --dir %s', or name another directory", call->dir);
        goto out;
    }
    /* The document comes last: while it is missing init can be run again. */
    if (directories_make(&in, &err) < 0 || certificate_make(&in, &err) < 0 || document_write(&in, &err) < 0 ||
        data_make(&in, &err) < 0) {
        unlink(buf_str(&path));
        code = verb_fail(call, &err, "mend that and run init again; %s was not made", buf_str(&path));
        goto out;
    }
    if (call->json)
        said_json(&in);
    else
        said(&in);
out:
    if (in.conf != NULL)
        snap_unref(&in.conf->snap);
    buf_free(&path);
    buf_free(&usage);
    return code;
}

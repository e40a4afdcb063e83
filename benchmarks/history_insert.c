/* Inserts the samples of a house into an SQLite table by the C API: the fastest way there is to insert rows.

   history_insert DATABASE PRAGMAS INSERT FOLDER POINTS POINTS_A_READ FIRST_MINUTE END_MINUTE by-time|by-point ROWS

   A transaction has so many ROWS; 0: all of them are one. INSERT takes point, time, value, reason, flags and source.
   It prints the seconds from the first row to the last commit. */

#include <fcntl.h>
#include <math.h>
#include <sqlite3.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>

enum { TEXT = 3, OFFLINE = 4, POLL = 0 };

static sqlite3 *database;

static void fail(const char *what, const char *why) {
    fprintf(stderr, "history_insert: %s: %s\n", what, why);
    exit(1);
}

static void check(int code, const char *what) {
    if (code != SQLITE_OK && code != SQLITE_DONE && code != SQLITE_ROW) fail(what, sqlite3_errmsg(database));
}

static void run(const char *statement) {
    check(sqlite3_exec(database, statement, NULL, NULL, NULL), statement);
}

static const void *contents(const char *folder, const char *name, size_t *size) {
    char path[4096];
    struct stat about;
    snprintf(path, sizeof path, "%s/%s", folder, name);
    int file = open(path, O_RDONLY);
    if (file < 0 || fstat(file, &about) < 0) fail(path, "cannot be opened");
    const void *found = mmap(NULL, (size_t)about.st_size, PROT_READ, MAP_PRIVATE, file, 0);
    if (found == MAP_FAILED) fail(path, "cannot be mapped");
    *size = (size_t)about.st_size;
    return found;
}

/* Finds where each line of the file of texts begins. */
static const char **lines(const char *text, size_t size) {
    size_t count = 1;
    for (size_t at = 0; at < size; at++) count += text[at] == '\n';
    const char **begins = malloc((count + 1) * sizeof *begins);
    if (begins == NULL) fail("texts", "no memory");
    size_t line = 0;
    begins[line++] = text;
    for (size_t at = 0; at < size; at++) if (text[at] == '\n') begins[line++] = text + at + 1;
    return begins;
}

int main(int count, char **given) {
    if (count != 11) fail("usage", "see the head of the source");
    const char *folder = given[4];
    const long points = atol(given[5]), points_a_read = atol(given[6]);
    const long first_minute = atol(given[7]), minutes = atol(given[8]) - first_minute;
    const int by_point = strcmp(given[9], "by-point") == 0;
    const long rows = atol(given[10]), reads = (points + points_a_read - 1) / points_a_read;

    size_t size;
    const double *values = contents(folder, "values", &size);
    const int64_t *times = contents(folder, "times", &size);
    const unsigned char *kinds = contents(folder, "kinds", &size);
    const char *text = contents(folder, "texts", &size);
    const char **begins = lines(text, size);

    check(sqlite3_open(given[1], &database), "open");
    run(given[2]);
    sqlite3_stmt *insert;
    check(sqlite3_prepare_v2(database, given[3], -1, &insert, NULL), given[3]);

    struct timespec began, ended;
    clock_gettime(CLOCK_MONOTONIC, &began);
    run("BEGIN");
    for (long done = 0; done < points * minutes; done++) {
        const long point = by_point ? done / minutes : done % points;
        const long minute = first_minute + (by_point ? done % minutes : done / points);
        const double value = values[minute * points + point];
        const int missing = isnan(value);
        sqlite3_bind_int64(insert, 1, point);
        sqlite3_bind_int64(insert, 2, times[minute * reads + point / points_a_read]);
        if (missing) {
            sqlite3_bind_null(insert, 3);
        } else if (kinds[point] == TEXT) {
            const char *begin = begins[(long)value], *end = begins[(long)value + 1] - 1;
            sqlite3_bind_text(insert, 3, begin, (int)(end - begin), SQLITE_STATIC);
        } else {
            sqlite3_bind_double(insert, 3, value);
        }
        sqlite3_bind_int64(insert, 4, missing ? OFFLINE : 0);
        sqlite3_bind_int64(insert, 5, 0);
        sqlite3_bind_int64(insert, 6, POLL);
        check(sqlite3_step(insert), "insert");
        sqlite3_reset(insert);
        if (rows != 0 && (done + 1) % rows == 0) run("COMMIT; BEGIN");
    }
    run("COMMIT");
    clock_gettime(CLOCK_MONOTONIC, &ended);
    sqlite3_finalize(insert);
    check(sqlite3_close(database), "close");
    printf("%.9f\n", (double)(ended.tv_sec - began.tv_sec) + (double)(ended.tv_nsec - began.tv_nsec) / 1e9);
    return 0;
}

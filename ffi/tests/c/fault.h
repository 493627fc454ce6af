/* A target that does wrong what a program says: the program writes a line, waits for one, and goes on. */
#ifndef FAULT_H
#define FAULT_H

#include "check.h"

/* Has the target do this wrong from here on, and nothing else: "nothing", or where ("io", "admin", "any", or "hello"
 * for the ICResp of any connection) and what ("cut", "stall", "foreign", "status NUMBER", "digest", "data"; "late" for
 * data that what comes later overtakes). */
static inline void fault(const char *what)
{
    printf("%s\n", what);
    fflush(stdout);
    CHECK(getchar() == '\n');
}

/* The next command there is completed with this status, type and code in one number. */
static inline void status(const char *where, int number)
{
    char text[32];
    snprintf(text, sizeof text, "%s status %d", where, number);
    fault(text);
}

#endif

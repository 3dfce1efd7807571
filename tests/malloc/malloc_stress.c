/* SPDX-License-Identifier: MIT
 *
 * malloc_stress.c: threads, forks and every function of the malloc family at once, contents
 * checked.
 *
 * Owns:    its blocks: each is filled with a byte that follows from its address, and looked at
 *          before it is freed, by whichever thread frees it.
 * Needs:   a malloc: the C library's, or libtesela-malloc.so preloaded.
 * Callers: tests/malloc/test_preload.py.
 *
 *   malloc_stress ROUNDS THREADS     prints `done by N threads`, ends with 0
 *   malloc_stress rules              errno, sizes of 0, alignments; prints the failed ones
 *   malloc_stress zero | locked      calloc of pages used before; the same with memory locked
 *   malloc_stress cancel             threads that are cancelled are so outside of malloc
 *   malloc_stress double | inside | size | stray    a misuse that a good malloc stops
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <malloc.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#define SHARED_BLOCKS 1024u
#define OWN_BLOCKS    128u

struct block {
    unsigned char *start;
    size_t bytes;
};

static struct block shared[SHARED_BLOCKS];
static pthread_mutex_t shared_mutex = PTHREAD_MUTEX_INITIALIZER;
static unsigned rounds;

static void fail(const char *what)
{
    fprintf(stderr, "malloc_stress: %s\n", what);
    _exit(1);
}

static uint64_t next(uint64_t *seed)
{
    *seed ^= *seed << 13;
    *seed ^= *seed >> 7;
    *seed ^= *seed << 17;
    return *seed >> 16;
}

static unsigned char mark_of(const struct block *block)
{
    return (unsigned char)(((uintptr_t)block->start >> 4) ^ block->bytes);
}

/* First and last bytes stand for all: whole blocks would only measure memset. */
static void fill(const struct block *block)
{
    size_t edge = block->bytes < 64 ? block->bytes : 64;
    memset(block->start, mark_of(block), edge);
    memset(block->start + block->bytes - edge, mark_of(block), edge);
}

static void check(const struct block *block)
{
    size_t edge = block->bytes < 64 ? block->bytes : 64;
    for (size_t i = 0; i < edge; i++)
        if (block->start[i] != mark_of(block) ||
            block->start[block->bytes - 1 - i] != mark_of(block))
            fail("a block has changed");
}

static size_t some_size(uint64_t *seed)
{
    unsigned doubling = (unsigned)(next(seed) % 100);
    size_t limit = doubling < 90 ? 512 : doubling < 99 ? 16384 : 600000;
    return 1 + next(seed) % limit;
}

static void all_zero(const unsigned char *start, size_t bytes)
{
    for (size_t i = 0; i < bytes; i++)
        if (start[i] != 0)
            fail("calloc gave bytes that are not zero");
}

static struct block make(uint64_t *seed)
{
    struct block block = {.bytes = some_size(seed)};
    void *start = NULL;
    size_t align = (size_t)16 << (next(seed) % 9);

    switch (next(seed) % 8) {
    case 0:
        start = calloc(1, block.bytes);
        if (start != NULL)
            all_zero(start, block.bytes);
        break;
    case 1:
        if (posix_memalign(&start, align, block.bytes) != 0 || (uintptr_t)start % align != 0)
            fail("posix_memalign");
        break;
    default:
        start = malloc(block.bytes);
    }
    if (start == NULL || (uintptr_t)start % 16 != 0)
        fail("no memory, or badly aligned");
    if (malloc_usable_size(start) < block.bytes)
        fail("usable size");
    block.start = start;
    fill(&block);
    return block;
}

static void end(struct block *block)
{
    if (block->start != NULL)
        check(block);
    free(block->start);
    block->start = NULL;
}

static void resize(struct block *block, uint64_t *seed)
{
    struct block old = *block;
    unsigned char first = mark_of(&old);
    size_t bytes = some_size(seed);

    check(&old);
    block->start = realloc(old.start, bytes);
    if (block->start == NULL)
        fail("realloc");
    block->bytes = bytes;
    size_t kept = bytes < old.bytes ? bytes : old.bytes;
    for (size_t i = 0; i < kept && i < 64; i++)
        if (block->start[i] != first)
            fail("realloc lost contents");
    fill(block);
}

static void *allocate_in_child(void *argument)
{
    uint64_t seed = (uintptr_t)argument;
    struct block blocks[OWN_BLOCKS];

    for (unsigned i = 0; i < OWN_BLOCKS; i++)
        blocks[i] = make(&seed);
    for (unsigned i = 0; i < OWN_BLOCKS; i++)
        end(&blocks[i]);
    return NULL;
}

/* All that its parent's threads left in `shared` is here, and nobody else has it. */
static void live_as_child(uint64_t *seed)
{
    pthread_t thread;

    (void)allocate_in_child((void *)(uintptr_t)(next(seed) | 1));
    for (unsigned i = 0; i < SHARED_BLOCKS; i++) {
        if (shared[i].start != NULL && i % 3 == 0)
            resize(&shared[i], seed);
        end(&shared[i]);
    }
    /* A thread of the child's own, which takes the place of one that did not come along. */
    if (pthread_create(&thread, NULL, allocate_in_child, (void *)(uintptr_t)(next(seed) | 1)) !=
            0 ||
        pthread_join(thread, NULL) != 0)
        fail("a child's thread");
    (void)malloc_trim(0);
    _exit(0);
}

/* A child of a fork allocates, frees what its parent's threads had, and ends. Meanwhile these go on
 * allocating; only `shared` keeps still for the moment of the fork. */
static void fork_once(uint64_t *seed)
{
    fflush(NULL);
    pthread_mutex_lock(&shared_mutex);
    pid_t child = fork();
    if (child == 0)
        live_as_child(seed);
    pthread_mutex_unlock(&shared_mutex);
    if (child < 0)
        fail("fork");
    int state = 0;
    if (waitpid(child, &state, 0) != child || !WIFEXITED(state) || WEXITSTATUS(state) != 0)
        fail("a child failed");
}

static void *work(void *context)
{
    uint64_t number = (uint64_t)(uintptr_t)context;
    uint64_t seed = 0x9e3779b97f4a7c15ull * (number + 1);
    uint64_t *sum = malloc(sizeof(*sum));
    struct block own[OWN_BLOCKS] = {{NULL, 0}};

    if (sum == NULL)
        fail("no memory");
    *sum = 0;
    for (unsigned i = 0; i < rounds; i++) {
        struct block *block = &own[next(&seed) % OWN_BLOCKS];
        if (block->start != NULL && next(&seed) % 4 == 0) {
            resize(block, &seed);
        } else {
            end(block);
            *block = make(&seed);
        }
        *sum += block->bytes;
        if (i % 4 == 0) {
            struct block *other = &shared[next(&seed) % SHARED_BLOCKS];
            pthread_mutex_lock(&shared_mutex);
            struct block kept = *other;
            *other = *block;
            pthread_mutex_unlock(&shared_mutex);
            *block = kept;
        }
        if (i % 256 == 255)
            fork_once(&seed);
        /* Asks all other threads for what they keep, those that sleep as well. */
        if (i % 128 == 127)
            (void)malloc_trim(0);
    }
    for (unsigned i = 0; i < OWN_BLOCKS; i++)
        end(&own[i]);
    return sum;
}

static void *short_life(void *block)
{
    free(block);
    return malloc(100);
}

/* Threads that live for one allocation, which others free. */
static void run_short_lives(void)
{
    void *block = malloc(100);
    for (unsigned i = 0; i < 200; i++) {
        pthread_t thread;
        if (pthread_create(&thread, NULL, short_life, block) != 0)
            fail("no thread");
        pthread_join(thread, &block);
    }
    free(block);
}

static int run(unsigned threads)
{
    pthread_t *thread = malloc(threads * sizeof(*thread));
    uint64_t sum = 0;

    if (thread == NULL)
        fail("no memory");
    for (unsigned i = 0; i < threads; i++)
        if (pthread_create(&thread[i], NULL, work, (void *)(uintptr_t)i) != 0)
            fail("no thread");
    for (unsigned i = 0; i < threads; i++) {
        void *result = NULL;
        pthread_join(thread[i], &result);
        sum += *(uint64_t *)result != 0;
        free(result);
    }
    for (unsigned i = 0; i < SHARED_BLOCKS; i++)
        end(&shared[i]);
    free(thread);
    run_short_lives();
    printf("done by %llu threads\n", (unsigned long long)sum);
    return 0;
}

/* ---- the C library's rules ---- */

static unsigned broken_rules;

static void rule(int holds, const char *sentence)
{
    if (!holds) {
        printf("broken: %s\n", sentence);
        broken_rules++;
    }
}

static int rules(void)
{
    volatile size_t huge = (size_t)PTRDIFF_MAX + 1;
    volatile size_t half = (size_t)1 << (sizeof(size_t) * 4);
    void *block = NULL;

    errno = 0;
    rule(malloc(huge) == NULL && errno == ENOMEM, "malloc beyond PTRDIFF_MAX");
    errno = 0;
    rule(calloc(half, half) == NULL && errno == ENOMEM, "calloc whose product overflows");
    errno = 0;
    rule(reallocarray(NULL, half, half) == NULL && errno == ENOMEM, "reallocarray that overflows");
    void *kept = malloc(100);
    memset(kept, 7, 100);
    errno = 0;
    rule(realloc(kept, huge) == NULL && errno == ENOMEM && ((char *)kept)[99] == 7,
         "a realloc that fails keeps the block");
    rule(posix_memalign(&block, 3, 10) == EINVAL && posix_memalign(&block, 2, 10) == EINVAL &&
             posix_memalign(&block, 64, huge) == ENOMEM && block == NULL,
         "posix_memalign returns the error and leaves the pointer alone");
    void *a = malloc(0), *b = malloc(0);
    rule(a != NULL && b != NULL && a != b, "size 0 gives blocks of their own");
    free(a);
    free(b);
    void *one = realloc(NULL, 10);
    rule(one != NULL, "realloc of NULL allocates");
    errno = 5;
    free(one);
    free(NULL);
    rule(errno == 5, "free leaves errno alone");
    for (size_t align = 16; align <= (size_t)1 << 22; align *= 2) {
        void *aligned = aligned_alloc(align, 3 * align);
        rule(aligned != NULL && (uintptr_t)aligned % align == 0, "aligned_alloc");
        free(aligned);
    }
    void *page = valloc(10);
    void *pages = pvalloc(5000);
    rule((uintptr_t)page % 4096 == 0 && (uintptr_t)pages % 4096 == 0 &&
             malloc_usable_size(pages) >= 8192,
         "valloc and pvalloc");
    free(page);
    free(pages);
    rule(malloc_usable_size(NULL) == 0 && malloc_usable_size(kept) >= 100, "usable size");
    free(kept);
    for (size_t bytes = 60000; bytes <= (size_t)8 << 20; bytes *= 2) {
        unsigned char *dirty = malloc(bytes);
        memset(dirty, 0xff, bytes);
        free(dirty);
        unsigned char *clean = calloc(bytes / 16, 16);
        all_zero(clean, bytes / 16 * 16);
        free(clean);
    }
    printf("rules %s\n", broken_rules == 0 ? "hold" : "broken");
    return broken_rules != 0;
}

/* ---- zeros ---- */

#define KIB ((size_t)1 << 10)
#define MIB ((size_t)1 << 20)

static unsigned char *used(size_t bytes)
{
    unsigned char *block = malloc(bytes);
    if (block == NULL)
        fail("no memory");
    memset(block, 0xaa, bytes);
    return block;
}

/* Few dirty pages at the end of many clean ones: what is cut off them may be just the dirty ones. */
static int zero(void)
{
    free(malloc(80 * MIB));
    unsigned char *large = used(64 * MIB);
    unsigned char *small = used(40 * KIB);
    unsigned char *end = used(40 * KIB);
    free(large);
    free(small);
    unsigned char *front = malloc(60 * MIB);
    size_t rest = end > front ? (size_t)(end - front) - 60 * MIB : MIB;
    unsigned char *clean = calloc(1, rest < 8 * MIB ? rest : MIB);
    if (clean == NULL)
        fail("no memory");
    all_zero(clean, rest < 8 * MIB ? rest : MIB);
    free(clean);
    free(front);
    free(end);
    /* Many small ones that become a large one. */
    static unsigned char *piece[1200];
    for (unsigned i = 0; i < 1200; i++)
        piece[i] = used(2048);
    for (unsigned i = 0; i < 1200; i++)
        if (i % 100 < 80)
            free(piece[i]);
    for (unsigned i = 0; i < 12; i++) {
        clean = calloc(70000, 1);
        if (clean == NULL)
            fail("no memory");
        all_zero(clean, 70000);
    }
    printf("all zero\n");
    return 0;
}

static int zero_in_locked_memory(void)
{
    if (mlockall(MCL_CURRENT | MCL_FUTURE) != 0) { /* not everybody may */
        printf("all zero\n");
        return 0;
    }
    for (size_t bytes = 128 * KIB; bytes <= 4 * MIB; bytes *= 2) {
        free(used(bytes));
        unsigned char *clean = calloc(1, bytes);
        if (clean == NULL)
            fail("no memory");
        all_zero(clean, bytes);
        free(clean);
    }
    printf("all zero\n");
    return 0;
}

/* ---- threads that are cancelled ---- */

static volatile int is_over;

/* Waits for nothing and writes nothing itself: whoever is cancelled was inside of malloc. */
static void *contend(void *context)
{
    uint64_t seed = (uintptr_t)context + 1;
    while (!is_over) {
        void *blocks[8];
        for (unsigned i = 0; i < 8; i++)
            blocks[i] = malloc(9000 + next(&seed) % 30000);
        for (unsigned i = 0; i < 8; i++)
            free(blocks[i]);
    }
    return NULL;
}

static int cancel(void)
{
    pthread_t thread[6];
    unsigned cancelled = 0;

    for (unsigned round = 0; round < 20; round++) {
        is_over = 0;
        for (unsigned i = 0; i < 6; i++)
            if (pthread_create(&thread[i], NULL, contend, (void *)(uintptr_t)i) != 0)
                fail("no thread");
        for (unsigned i = 0; i < 6; i++)
            pthread_cancel(thread[i]);
        usleep(50000);
        is_over = 1;
        for (unsigned i = 0; i < 6; i++) {
            void *result = NULL;
            pthread_join(thread[i], &result);
            cancelled += result == PTHREAD_CANCELED;
        }
        if (cancelled > 0)
            fail("a thread was cancelled inside of malloc or free");
    }
    printf("none cancelled\n");
    return 0;
}

static int misuse(const char *kind)
{
    char *volatile block = malloc(64);
    char *volatile other = malloc(64);
    char here[64] = {0};

    if (strcmp(kind, "double") == 0) {
        free(block);
        free(block);
    } else if (strcmp(kind, "inside") == 0) {
        free(block + 16);
    } else if (strcmp(kind, "size") == 0) {
        void (*sized)(void *, size_t) = NULL;
        *(void **)&sized = dlsym(RTLD_DEFAULT, "free_sized");
        if (sized == NULL)
            fail("no free_sized");
        sized(block, 64);
        block = malloc(64);
        sized(block, 4000);
    } else {
        char *volatile stray = here;
        free(stray);
    }
    printf("not stopped\n");
    free(other);
    return 0;
}

int main(int count, char **words)
{
    static const struct {
        const char *name;
        int (*run)(void);
    } parts[] = {
        {"rules", rules}, {"zero", zero}, {"locked", zero_in_locked_memory}, {"cancel", cancel}};
    for (size_t i = 0; count == 2 && i < sizeof(parts) / sizeof(parts[0]); i++)
        if (strcmp(words[1], parts[i].name) == 0)
            return parts[i].run();
    if (count == 2)
        return misuse(words[1]);
    if (count != 3)
        fail("usage: malloc_stress ROUNDS THREADS");
    rounds = (unsigned)atoi(words[1]);
    return run((unsigned)atoi(words[2]));
}

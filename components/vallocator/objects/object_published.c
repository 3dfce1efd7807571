/* SPDX-License-Identifier: MIT
 *
 * object_published.c: objects that others find by a number.
 *
 * Owns:    the numbers, and who may find what.
 * Needs:   base (tree), object.c.
 * Callers: the kernel (object.h).
 *
 * What is published has a reference, so whoever finds it gets one more under the lock: an object
 * cannot end between the two. A number is given once and never again.
 */
#include "../spaces/space_internal.h"

static struct tsl_object *object_of(struct tsl_tree_node *node)
{
    return TSL_CONTAINER_OF(node, struct tsl_object, node);
}

static const void *key_of(const struct tsl_tree_node *node)
{
    return &TSL_CONTAINER_OF(node, const struct tsl_object, node)->handle;
}

static int compare(const void *key, const struct tsl_tree_node *node)
{
    tsl_word handle = *(const tsl_word *)key, other = *(const tsl_word *)key_of(node);
    return handle < other ? -1 : handle > other;
}

static const struct tsl_tree_ops by_handle = {.key = key_of, .compare = compare};

void tsl_vm_init_published(struct tsl_vm *vm)
{
    tsl_lock_init(&vm->published_lock, TSL_RANK_OBJECT);
    tsl_tree_init(&vm->published, &by_handle);
}

static bool are_rights(unsigned rights)
{
    return !(rights & ~SPACE_RIGHTS) && (rights == 0 || rights & TSL_READ);
}

static enum tsl_status check(const struct tsl_object *self, const struct tsl_object_grant *grant)
{
    if (!are_rights(grant->owner_rights) || !are_rights(grant->others_rights))
        return TSL_INVALID;
    unsigned rights = grant->owner_rights | grant->others_rights;
    return rights & ~self->config.maximum ? TSL_DENIED : TSL_OK;
}

enum tsl_status tsl_object_publish(struct tsl_object *self, const struct tsl_object_grant *grant,
                                   tsl_word *out)
{
    struct tsl_vm *vm = self->vm;
    enum tsl_status status = check(self, grant);
    if (status != TSL_OK)
        return status;
    tsl_pin pin = tsl_lock_acquire(&vm->published_lock);
    if (self->handle)
        status = TSL_EXISTS;
    else if (vm->last_handle == ~(tsl_word)0)
        status = TSL_LIMIT;
    if (status == TSL_OK) {
        tsl_object_get(self);
        self->grant = *grant;
        self->handle = ++vm->last_handle;
        *out = self->handle;
        status = tsl_tree_insert(&vm->published, &self->node);
        TSL_ASSERT(status == TSL_OK);
    }
    tsl_lock_release(&vm->published_lock, pin);
    return status;
}

enum tsl_status tsl_object_find(struct tsl_vm *vm, tsl_word handle, tsl_word user, unsigned rights,
                                struct tsl_object **out)
{
    enum tsl_status status = TSL_NOT_FOUND;
    tsl_pin pin = tsl_lock_acquire(&vm->published_lock);
    struct tsl_tree_node *node = tsl_tree_find(&vm->published, &handle);
    if (node) {
        struct tsl_object *object = object_of(node);
        const struct tsl_object_grant *grant = &object->grant;
        unsigned may = user == grant->owner ? grant->owner_rights : grant->others_rights;
        status = may == 0 || rights & ~may ? TSL_DENIED : TSL_OK;
        if (status == TSL_OK) {
            tsl_object_get(object);
            *out = object;
        }
    }
    tsl_lock_release(&vm->published_lock, pin);
    return status;
}

enum tsl_status tsl_object_withdraw(struct tsl_vm *vm, tsl_word handle, tsl_word user)
{
    struct tsl_object *object = NULL;
    enum tsl_status status = TSL_NOT_FOUND;
    tsl_pin pin = tsl_lock_acquire(&vm->published_lock);
    struct tsl_tree_node *node = tsl_tree_find(&vm->published, &handle);
    if (node) {
        object = object_of(node);
        status = user == object->grant.owner ? TSL_OK : TSL_DENIED;
    }
    if (status == TSL_OK) {
        tsl_tree_remove(&vm->published, node);
        object->handle = 0;
    }
    tsl_lock_release(&vm->published_lock, pin);
    if (status == TSL_OK)
        tsl_object_put(object);
    return status;
}

// SPDX-License-Identifier: GPL-3.0-or-later
// SPDX-FileCopyrightText: The kernelops.livepatch contributors
//
// A task that reads /proc/lab_sleep sleeps until a task writes to it. A live patch that replaces lab_sleep_wait()
// cannot change such a task, so its transition lasts as long as the sleep. Only a kill ends the sleep early: the kernel
// sends a fake signal to tasks that block a transition, which would end a sleep that any signal interrupts.

#include <linux/jiffies.h>
#include <linux/kernel.h>
#include <linux/module.h>
#include <linux/proc_fs.h>
#include <linux/wait.h>

#define LAB_SLEEP_SECONDS 600

static DECLARE_WAIT_QUEUE_HEAD(lab_sleep_queue);
static unsigned int lab_sleep_calls;

static noinline __noclone void lab_sleep_wait(void)
{
	unsigned int calls = READ_ONCE(lab_sleep_calls);

	wait_event_killable_timeout(lab_sleep_queue, READ_ONCE(lab_sleep_calls) != calls, LAB_SLEEP_SECONDS * HZ);
}

static ssize_t lab_sleep_read(struct file *file, char __user *buffer, size_t size, loff_t *position)
{
	lab_sleep_wait();
	return 0;
}

static ssize_t lab_sleep_write(struct file *file, const char __user *buffer, size_t size, loff_t *position)
{
	WRITE_ONCE(lab_sleep_calls, lab_sleep_calls + 1);
	wake_up_all(&lab_sleep_queue);
	return size;
}

static const struct proc_ops lab_sleep_file = {
	.proc_read = lab_sleep_read,
	.proc_write = lab_sleep_write,
};

static int __init lab_sleep_init(void)
{
	return proc_create("lab_sleep", 0600, NULL, &lab_sleep_file) ? 0 : -ENOMEM;
}

static void __exit lab_sleep_exit(void)
{
	remove_proc_entry("lab_sleep", NULL);
}

module_init(lab_sleep_init);
module_exit(lab_sleep_exit);
MODULE_DESCRIPTION("A file whose readers sleep");
MODULE_LICENSE("GPL");

// SPDX-License-Identifier: GPL-3.0-or-later
// SPDX-FileCopyrightText: The kernelops.livepatch contributors
//
// Whoever reads /proc/lab_nap sleeps, until somebody writes to it. A live patch that replaces lab_nap_sleep() cannot
// reach such a task, so its transition lasts as long as the sleep. Only a kill ends the sleep early: the kernel wakes
// what holds up a transition by a signal that is none, which would end a sleep that any signal interrupts.

#include <linux/jiffies.h>
#include <linux/kernel.h>
#include <linux/module.h>
#include <linux/proc_fs.h>
#include <linux/wait.h>

#define LAB_NAP_SECONDS 600

static DECLARE_WAIT_QUEUE_HEAD(lab_nap_queue);
static unsigned int lab_nap_calls;

static noinline __noclone void lab_nap_sleep(void)
{
	unsigned int calls = READ_ONCE(lab_nap_calls);

	wait_event_killable_timeout(lab_nap_queue, READ_ONCE(lab_nap_calls) != calls, LAB_NAP_SECONDS * HZ);
}

static ssize_t lab_nap_read(struct file *file, char __user *buffer, size_t size, loff_t *position)
{
	lab_nap_sleep();
	return 0;
}

static ssize_t lab_nap_write(struct file *file, const char __user *buffer, size_t size, loff_t *position)
{
	WRITE_ONCE(lab_nap_calls, lab_nap_calls + 1);
	wake_up_all(&lab_nap_queue);
	return size;
}

static const struct proc_ops lab_nap_file = {
	.proc_read = lab_nap_read,
	.proc_write = lab_nap_write,
};

static int __init lab_nap_init(void)
{
	return proc_create("lab_nap", 0600, NULL, &lab_nap_file) ? 0 : -ENOMEM;
}

static void __exit lab_nap_exit(void)
{
	remove_proc_entry("lab_nap", NULL);
}

module_init(lab_nap_init);
module_exit(lab_nap_exit);
MODULE_DESCRIPTION("A place to sleep in");
MODULE_LICENSE("GPL");

// SPDX-License-Identifier: GPL-3.0-or-later
// SPDX-FileCopyrightText: The kernelops.livepatch contributors
//
// A live patch. LAB_TEXT is the content of /proc/cmdline with the patch; with LAB_SLEEP, it also replaces the function
// in which readers of /proc/lab_sleep sleep. Like the patches of the service, it is cumulative: a newer one replaces it.

#include <linux/kernel.h>
#include <linux/livepatch.h>
#include <linux/module.h>
#include <linux/seq_file.h>

static int lab_cmdline_proc_show(struct seq_file *file, void *unused)
{
	seq_puts(file, LAB_TEXT "\n");
	return 0;
}

static struct klp_func lab_vmlinux_functions[] = {
	{ .old_name = "cmdline_proc_show", .new_func = lab_cmdline_proc_show },
	{ }
};

#ifdef LAB_SLEEP
static void lab_no_sleep(void)
{
}

static struct klp_func lab_sleep_functions[] = {
	{ .old_name = "lab_sleep_wait", .new_func = lab_no_sleep },
	{ }
};
#endif

static struct klp_object lab_objects[] = {
	{ .funcs = lab_vmlinux_functions },
#ifdef LAB_SLEEP
	{ .name = "lab_sleep", .funcs = lab_sleep_functions },
#endif
	{ }
};

static struct klp_patch lab_patch = {
	.mod = THIS_MODULE,
	.objs = lab_objects,
	.replace = true,
};

static int __init lab_livepatch_init(void)
{
	return klp_enable_patch(&lab_patch);
}

static void __exit lab_livepatch_exit(void)
{
}

module_init(lab_livepatch_init);
module_exit(lab_livepatch_exit);
MODULE_DESCRIPTION("A live patch of the lab");
MODULE_LICENSE("GPL");
MODULE_INFO(livepatch, "Y");

// SPDX-License-Identifier: GPL-3.0-or-later
// SPDX-FileCopyrightText: The kernelops.livepatch contributors
//
// Adds the file with the name of an Ubuntu kernel to a Debian kernel: /proc/version_signature.

#include <linux/kernel.h>
#include <linux/module.h>
#include <linux/proc_fs.h>
#include <linux/seq_file.h>

static char *signature = "";
module_param(signature, charp, 0444);
MODULE_PARM_DESC(signature, "content of the file, without the newline");

static int lab_signature_show(struct seq_file *file, void *unused)
{
	seq_printf(file, "%s\n", signature);
	return 0;
}

static int __init lab_signature_init(void)
{
	return proc_create_single("version_signature", 0444, NULL, lab_signature_show) ? 0 : -ENOMEM;
}

static void __exit lab_signature_exit(void)
{
	remove_proc_entry("version_signature", NULL);
}

module_init(lab_signature_init);
module_exit(lab_signature_exit);
MODULE_DESCRIPTION("The version signature of an Ubuntu kernel");
MODULE_LICENSE("GPL");

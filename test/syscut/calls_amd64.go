package syscut

import "golang.org/x/sys/unix"

// Calls that newer machines don't have: theirs take a directory as well.
func init() {
	type call = struct {
		name  string
		about object
	}
	opens[unix.SYS_OPEN] = 1
	known[unix.SYS_OPEN] = call{"open", object{0, path}}
	for number, c := range map[uintptr]call{
		unix.SYS_CREAT: {"creat", object{0, path}}, unix.SYS_MKDIR: {"mkdir", object{0, path}}, unix.SYS_MKNOD: {"mknod", object{0, path}},
		unix.SYS_RMDIR: {"rmdir", object{0, path}}, unix.SYS_UNLINK: {"unlink", object{0, path}}, unix.SYS_RENAME: {"rename", object{1, path}},
		unix.SYS_LINK: {"link", object{1, path}}, unix.SYS_SYMLINK: {"symlink", object{1, path}}, unix.SYS_CHMOD: {"chmod", object{0, path}},
	} {
		known[number] = c
		changes[number] = true
	}
}

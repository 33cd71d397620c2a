package syscut

import "golang.org/x/sys/unix"

// object says which argument of a call tells what it is about, and how.
type object struct {
	argument int
	kind     kind
}

type kind int

const (
	nothing    kind = iota
	path            // of a file
	descriptor      // of an open file
)

// opens are calls that open files, by the argument with the flags: those that write or make something are of interest.
var opens = map[uintptr]int{unix.SYS_OPENAT: 2}

// writes are calls whose first argument is what they write to.
var writes = map[uintptr]bool{
	unix.SYS_WRITE: true, unix.SYS_PWRITE64: true, unix.SYS_WRITEV: true, unix.SYS_PWRITEV: true, unix.SYS_PWRITEV2: true,
}

// changes are the other calls that can change the machine.
var changes = map[uintptr]bool{}

// known are the names and objects of all of them.
var known = map[uintptr]struct {
	name  string
	about object
}{
	unix.SYS_OPENAT: {"openat", object{1, path}}, unix.SYS_OPENAT2: {"openat2", object{1, path}},
	unix.SYS_WRITE: {"write", object{0, descriptor}}, unix.SYS_PWRITE64: {"pwrite64", object{0, descriptor}},
	unix.SYS_WRITEV: {"writev", object{0, descriptor}}, unix.SYS_PWRITEV: {"pwritev", object{0, descriptor}},
	unix.SYS_PWRITEV2: {"pwritev2", object{0, descriptor}},

	unix.SYS_MOUNT: {"mount", object{1, path}}, unix.SYS_UMOUNT2: {"umount2", object{0, path}},
	unix.SYS_MOVE_MOUNT: {"move_mount", object{3, path}}, unix.SYS_FSMOUNT: {"fsmount", object{}}, unix.SYS_FSCONFIG: {"fsconfig", object{}},
	unix.SYS_MOUNT_SETATTR: {"mount_setattr", object{0, descriptor}},
	unix.SYS_MKDIRAT:       {"mkdirat", object{1, path}}, unix.SYS_MKNODAT: {"mknodat", object{1, path}},
	unix.SYS_UNLINKAT: {"unlinkat", object{1, path}}, unix.SYS_RENAMEAT: {"renameat", object{3, path}},
	unix.SYS_RENAMEAT2: {"renameat2", object{3, path}}, unix.SYS_LINKAT: {"linkat", object{3, path}}, unix.SYS_SYMLINKAT: {"symlinkat", object{2, path}},
	unix.SYS_FTRUNCATE: {"ftruncate", object{0, descriptor}}, unix.SYS_TRUNCATE: {"truncate", object{0, path}},
	unix.SYS_FALLOCATE: {"fallocate", object{0, descriptor}}, unix.SYS_COPY_FILE_RANGE: {"copy_file_range", object{2, descriptor}},
	unix.SYS_FSYNC: {"fsync", object{0, descriptor}}, unix.SYS_FDATASYNC: {"fdatasync", object{0, descriptor}},
	unix.SYS_SYNC: {"sync", object{}}, unix.SYS_SYNCFS: {"syncfs", object{0, descriptor}},
	unix.SYS_SYNC_FILE_RANGE: {"sync_file_range", object{0, descriptor}},
	unix.SYS_FCHMOD:          {"fchmod", object{0, descriptor}}, unix.SYS_FCHMODAT: {"fchmodat", object{1, path}},
	unix.SYS_FCHOWN: {"fchown", object{0, descriptor}}, unix.SYS_FCHOWNAT: {"fchownat", object{1, path}},
	unix.SYS_IO_SUBMIT: {"io_submit", object{}}, unix.SYS_IO_URING_ENTER: {"io_uring_enter", object{}},
	unix.SYS_IOCTL: {"ioctl", object{0, descriptor}}, unix.SYS_EXECVE: {"execve", object{0, path}}, unix.SYS_EXECVEAT: {"execveat", object{1, path}},
}

func init() {
	for number := range known {
		if _, is := opens[number]; !is && !writes[number] {
			changes[number] = true
		}
	}
}

// looks are ioctls that only look.
var looks = map[uint64]bool{
	unix.TCGETS: true, unix.BLKGETSIZE: true, unix.BLKGETSIZE64: true, unix.BLKSSZGET: true, unix.BLKBSZGET: true, unix.BLKROGET: true,
	unix.BLKPBSZGET: true, unix.BLKIOMIN: true, unix.BLKIOOPT: true, unix.BLKALIGNOFF: true, unix.BLKSECTGET: true, unix.BLKRAGET: true,
}

package mount

import (
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
)

// Values says which values a mount option takes: words with | between them, or one of the kinds below. A value that
// may be left out is in brackets.
type Values string

// The kinds of values that are no fixed words.
const (
	None   Values = ""
	Number Values = "N"
	Size   Values = "SIZE"
	Label  Values = "LABEL"
)

// Generic is the key of Allowed for the options that every file system has.
const Generic = ""

// VirtioFS is the type of the platform's shared file systems.
const VirtioFS = "virtiofs"

// Allowed has the mount options that users may give, by file system. Everything else is refused: mount(8) and the
// kernel have options that name other devices, files and programs, and new ones come with each version.
var Allowed = map[string]map[string]Values{
	Generic: {
		"defaults": None, "ro": None, "rw": None, "suid": None, "nosuid": None, "dev": None, "nodev": None, "exec": None,
		"noexec": None, "nosymfollow": None, "sync": None, "async": None, "dirsync": None, "atime": None, "noatime": None,
		"diratime": None, "nodiratime": None, "relatime": None, "norelatime": None, "strictatime": None,
		"nostrictatime": None, "lazytime": None, "nolazytime": None, "iversion": None, "noiversion": None, "silent": None,
		"loud": None, "mand": None, "nomand": None,
		// These speak to whoever mounts at boot, and change nothing here.
		"auto": None, "noauto": None, "nofail": None, "_netdev": None,
		// Labels for SELinux.
		"context": Label, "fscontext": Label, "defcontext": Label, "rootcontext": Label,
	},
	"ext4": {
		"data": "ordered|writeback|journal", "commit": Number, "barrier": "[0|1]", "nobarrier": None, "discard": None,
		"nodiscard": None, "delalloc": None, "nodelalloc": None, "journal_checksum": None, "nojournal_checksum": None,
		"journal_async_commit": None, "journal_ioprio": "0|1|2|3|4|5|6|7", "errors": "remount-ro|continue",
		"data_err": "ignore|abort", "stripe": Number, "inode_readahead_blks": Number, "init_itable": "[N]",
		"noinit_itable": None, "auto_da_alloc": "[0|1]", "noauto_da_alloc": None, "dioread_lock": None,
		"dioread_nolock": None, "nodioread_nolock": None, "max_batch_time": Number, "min_batch_time": Number,
		"block_validity": None, "noblock_validity": None, "user_xattr": None, "nouser_xattr": None, "acl": None,
		"noacl": None, "bsddf": None, "minixdf": None, "grpid": None, "bsdgroups": None, "nogrpid": None,
		"sysvgroups": None, "resuid": Number, "resgid": Number, "quota": None, "noquota": None, "usrquota": None,
		"grpquota": None, "prjquota": None, "prefetch_block_bitmaps": None, "no_prefetch_block_bitmaps": None,
		"mb_optimize_scan": "0|1", "max_dir_size_kb": Number, "nombcache": None, "i_version": None,
	},
	"xfs": {
		"allocsize": Size, "discard": None, "nodiscard": None, "grpid": None, "bsdgroups": None, "nogrpid": None,
		"sysvgroups": None, "filestreams": None, "ikeep": None, "noikeep": None, "inode32": None, "inode64": None,
		"largeio": None, "nolargeio": None, "logbufs": Number, "logbsize": Size, "noalign": None, "nouuid": None,
		"swalloc": None, "sunit": Number, "swidth": Number, "wsync": None, "attr2": None, "noattr2": None,
		"noquota": None, "quota": None, "uquota": None, "usrquota": None, "qnoenforce": None, "uqnoenforce": None,
		"gquota": None, "grpquota": None, "gqnoenforce": None, "pquota": None, "prjquota": None, "pqnoenforce": None,
	},
	VirtioFS: {"dax": "[always|never|inode]"},
	"btrfs": {
		"compress": "[zlib|lzo|zstd|no|none|zlib:N|zstd:N]", "compress-force": "[zlib|lzo|zstd|no|none|zlib:N|zstd:N]",
		"ssd": None, "nossd": None, "ssd_spread": None, "nossd_spread": None, "discard": "[sync|async]", "nodiscard": None,
		"space_cache": "v2", "commit": Number, "autodefrag": None, "noautodefrag": None,
		"datacow": None, "nodatacow": None, "datasum": None, "nodatasum": None, "acl": None, "noacl": None,
		"barrier": None, "nobarrier": None, "treelog": None, "notreelog": None, "flushoncommit": None,
		"noflushoncommit": None, "max_inline": Size, "metadata_ratio": Number, "thread_pool": Number,
		"user_subvol_rm_allowed": None, "skip_balance": None,
	},
}

// reasons tell why options are refused that somebody may well ask for.
var reasons = byName(map[string]string{
	"it names another device":                           "logdev rtdev journal_dev device loop offset sizelimit uuid encryption",
	"it names a file":                                   "journal_path usrjquota grpjquota jqfmt roothash roothashfile roothashsig hashdevice",
	"it names a program":                                "helper uhelper",
	"it lets somebody else unmount the volume":          "user users owner group",
	"it makes mount(8) do something else than mounting": "bind rbind move remount shared rshared slave rslave private rprivate unbindable runbindable",
	"it skips or distrusts the journal or checksums, so what was written last may be missing or broken": "noload norecovery nologreplay rescue " +
		"recovery usebackuproot degraded sb abort",
	"it shows a part of the file system only; the subPath of a pod's volume mount does that": "subvol subvolid",
})

func byName(reasons map[string]string) map[string]string {
	all := map[string]string{}
	for why, names := range reasons {
		for name := range strings.FieldsSeq(names) {
			all[name] = why
		}
	}
	return all
}

// documented is where the allowed options are listed, for errors.
const documented = "docs/block-volumes.md lists the mount options that are possible"

// CheckOptions judges mount options, as SplitOptions returns them, for a file system. With an fsType of "" it is not
// known yet: then an option has to be possible with one of the file systems.
func CheckOptions(fsType string, options []string) error {
	for _, o := range options {
		if err := checkOption(fsType, o); err != nil {
			return err
		}
	}
	if slices.Contains(options, "ro") && slices.Contains(options, "rw") {
		return errors.New("mount options ro and rw contradict each other")
	}
	return nil
}

func checkOption(fsType, option string) error {
	name, value, hasValue := strings.Cut(option, "=")
	if note(option) {
		if !noteForm.MatchString(option) {
			return fmt.Errorf("mount option %q has characters that are not possible; %s", option, documented)
		}
		return nil
	}
	tables := []string{Generic, fsType}
	if fsType == "" {
		// A shared file system is never one whose type is not known.
		tables = slices.DeleteFunc(slices.Sorted(maps.Keys(Allowed)), func(t string) bool { return t == VirtioFS })
	}
	known := false
	for _, t := range tables {
		values, ok := Allowed[t][name]
		if ok && values.accept(value, hasValue) {
			return nil
		}
		known = known || ok
	}
	if option == "" {
		return fmt.Errorf("a mount option is empty (a comma too many?); %s", documented)
	}
	of := fsType
	if of == "" {
		of = "any file system"
	}
	return fmt.Errorf("mount option %q is not possible with %s%s; %s", option, of, whyNot(name, value, known), documented)
}

// whyNot is the reason against an option, as far as there is more to say.
func whyNot(name, value string, known bool) string {
	switch {
	case name == "errors" && value == "panic":
		return ": it stops the whole machine at an error"
	case known:
		return ": its value is not one of those that are possible"
	case reasons[name] != "":
		return ": " + reasons[name]
	case strings.HasPrefix(name, "verity."):
		return ": it names another device and files"
	case strings.HasPrefix(name, "X-"), strings.HasPrefix(name, "x-mount."):
		return ": it makes mount(8) do more than mounting"
	}
	return ""
}

// note reports whether an option is a note for other programs, such as x-systemd.device-timeout=10, which mounting
// passes over. Notes that begin with X-, and some of mount(8)'s own, are none: it acts on them.
func note(option string) bool {
	return strings.HasPrefix(option, "x-") && !strings.HasPrefix(option, "x-mount.")
}

var (
	noteForm = regexp.MustCompile(`^x-[A-Za-z0-9._-]+(=[A-Za-z0-9._:+-]+)?$`)
	forms    = map[Values]*regexp.Regexp{
		Number: regexp.MustCompile(`^\d{1,10}$`),
		Size:   regexp.MustCompile(`^\d{1,10}[kKmMgG]?$`),
		Label:  regexp.MustCompile(`^("[A-Za-z0-9_.:,-]+"|[A-Za-z0-9_.:-]+)$`),
	}
)

// accept reports whether an option with these values can have the value.
func (v Values) accept(value string, given bool) bool {
	inner, optional := strings.CutPrefix(string(v), "[")
	if !given {
		return v == None || optional
	}
	for choice := range strings.SplitSeq(strings.TrimSuffix(inner, "]"), "|") {
		word, number, has := strings.Cut(choice, ":")
		if has && number == string(Number) { // such as zstd:3
			rest, ok := strings.CutPrefix(value, word+":")
			if ok && forms[Number].MatchString(rest) {
				return true
			}
			continue
		}
		if form := forms[Values(choice)]; form != nil && form.MatchString(value) || form == nil && choice != "" && choice == value {
			return true
		}
	}
	return false
}

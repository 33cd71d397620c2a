package mount

import (
	"fmt"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// securityOptions label a whole file system for SELinux. Their values have commas, within quotes.
var securityOptions = []string{"context", "fscontext", "defcontext", "rootcontext"}

// SplitOptions splits mount options at the commas between them; those within quotes belong to a value. Only a label
// for SELinux may be quoted, and all of it: context="system_u:object_r:container_file_t:s0:c1,c2".
func SplitOptions(text string) ([]string, error) {
	var options []string
	begin, quoted := 0, false
	for i, c := range text {
		switch {
		case c == '"':
			quoted = !quoted
		case c == ',' && !quoted:
			options = append(options, text[begin:i])
			begin = i + 1
		}
	}
	if quoted {
		return nil, fmt.Errorf("mount option %q has a quote without its end", text)
	}
	options = append(options, text[begin:])
	for _, o := range options {
		if err := checkQuotes(o); err != nil {
			return nil, err
		}
	}
	return options, nil
}

// SplitAll splits texts of mount options; several in one text, as mount(8) takes them, are common. What is repeated is
// left out.
func SplitAll(texts []string) ([]string, error) {
	var options []string
	for _, text := range texts {
		split, err := SplitOptions(text)
		if err != nil {
			return nil, err
		}
		for _, o := range split {
			if !slices.Contains(options, o) {
				options = append(options, o)
			}
		}
	}
	return options, nil
}

func checkQuotes(option string) error {
	name, value, _ := strings.Cut(option, "=")
	inner, isQuoted := strings.CutPrefix(value, `"`)
	inner, ends := strings.CutSuffix(inner, `"`)
	switch {
	case !strings.Contains(option, `"`):
		return nil
	case !slices.Contains(securityOptions, name):
		return fmt.Errorf("mount option %q: only a label for SELinux may be quoted", option)
	case !isQuoted || !ends || strings.Contains(inner, `"`):
		return fmt.Errorf("mount option %q is not quoted as a whole", option)
	}
	return nil
}

// labels reports whether the options ask for a label of the whole file system.
func labels(options []string) bool {
	return slices.ContainsFunc(options, func(o string) bool {
		name, _, _ := strings.Cut(o, "=")
		return slices.Contains(securityOptions, name)
	})
}

// bits are what an option means to mount(2) that is no text for the file system: it sets some, or clears what an option
// before it set.
type bits struct{ set, clear uintptr }

var flags = map[string]bits{
	"ro": {unix.MS_RDONLY, 0}, "rw": {0, unix.MS_RDONLY},
	"nosuid": {unix.MS_NOSUID, 0}, "suid": {0, unix.MS_NOSUID},
	"nodev": {unix.MS_NODEV, 0}, "dev": {0, unix.MS_NODEV},
	"noexec": {unix.MS_NOEXEC, 0}, "exec": {0, unix.MS_NOEXEC},
	"nosymfollow": {unix.MS_NOSYMFOLLOW, 0},
	"sync":        {unix.MS_SYNCHRONOUS, 0}, "async": {0, unix.MS_SYNCHRONOUS}, "dirsync": {unix.MS_DIRSYNC, 0},
	"mand": {unix.MS_MANDLOCK, 0}, "nomand": {0, unix.MS_MANDLOCK},
	"lazytime": {unix.MS_LAZYTIME, 0}, "nolazytime": {0, unix.MS_LAZYTIME},
	"noatime": {unix.MS_NOATIME, 0}, "atime": {0, unix.MS_NOATIME},
	"nodiratime": {unix.MS_NODIRATIME, 0}, "diratime": {0, unix.MS_NODIRATIME},
	"relatime": {unix.MS_RELATIME, 0}, "norelatime": {0, unix.MS_RELATIME},
	"strictatime": {unix.MS_STRICTATIME, 0}, "nostrictatime": {0, unix.MS_STRICTATIME},
	"iversion": {unix.MS_I_VERSION, 0}, "noiversion": {0, unix.MS_I_VERSION},
	"silent": {unix.MS_SILENT, 0}, "loud": {0, unix.MS_SILENT},
	// These speak to whoever mounts at boot; defaults are what is there without any.
	"defaults": {}, "auto": {}, "noauto": {}, "nofail": {}, "_netdev": {},
}

// forKernel sorts options into the flags and the text that mount(2) takes. Of two that contradict each other the later
// one counts.
func forKernel(options []string) (uintptr, string) {
	var all uintptr
	var text []string
	for _, o := range options {
		f, isFlag := flags[o]
		switch {
		case isFlag:
			all = all&^f.clear | f.set
		case note(o):
		default:
			text = append(text, o)
		}
	}
	return all, strings.Join(text, ",")
}

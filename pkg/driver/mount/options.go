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

// labels tells whether the options ask for a label of the whole file system.
func labels(options []string) bool {
	return slices.ContainsFunc(options, func(o string) bool {
		name, _, _ := strings.Cut(o, "=")
		return slices.Contains(securityOptions, name)
	})
}

// flags are the options that are no text for the file system.
var flags = map[string]uintptr{
	"ro": unix.MS_RDONLY, "nosuid": unix.MS_NOSUID, "nodev": unix.MS_NODEV, "noexec": unix.MS_NOEXEC,
	"sync": unix.MS_SYNCHRONOUS, "dirsync": unix.MS_DIRSYNC, "mand": unix.MS_MANDLOCK, "lazytime": unix.MS_LAZYTIME,
	"noatime": unix.MS_NOATIME, "nodiratime": unix.MS_NODIRATIME, "relatime": unix.MS_RELATIME, "strictatime": unix.MS_STRICTATIME,
	"nosymfollow": unix.MS_NOSYMFOLLOW, "iversion": unix.MS_I_VERSION, "silent": unix.MS_SILENT, "noiversion": 0, "loud": 0,
	"norelatime": 0, "nostrictatime": 0,
	"rw": 0, "suid": 0, "dev": 0, "exec": 0, "async": 0, "nomand": 0, "nolazytime": 0, "atime": 0, "diratime": 0,
	// These speak to whoever mounts at boot.
	"defaults": 0, "auto": 0, "noauto": 0, "nofail": 0, "_netdev": 0,
}

// forKernel sorts options into the flags and the text that mount(2) takes.
func forKernel(options []string) (uintptr, string) {
	var bits uintptr
	var text []string
	for _, o := range options {
		bit, isFlag := flags[o]
		switch {
		case isFlag:
			bits |= bit
		case note(o):
		default:
			text = append(text, o)
		}
	}
	return bits, strings.Join(text, ",")
}

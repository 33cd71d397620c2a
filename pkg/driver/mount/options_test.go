package mount

import (
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

const label = `context="system_u:object_r:container_file_t:s0:c0,c1"`

func TestSplitOptions(t *testing.T) {
	for text, want := range map[string][]string{
		"noatime":                  {"noatime"},
		"noatime,nodev":            {"noatime", "nodev"},
		label:                      {label},
		"noatime," + label + ",ro": {"noatime", label, "ro"},
		`rootcontext=a:b:c:s0,ro`:  {"rootcontext=a:b:c:s0", "ro"},
		"":                         {""},
		"ro,":                      {"ro", ""},
		`context="",ro`:            {`context=""`, "ro"},
	} {
		got, err := SplitOptions(text)
		if err != nil || !slices.Equal(got, want) {
			t.Errorf("%q: got %q, %v, want %q", text, got, err, want)
		}
	}
	for _, bad := range []string{
		`context="a:b`, `context=a"b,c"`, `context="a"b`, `context="a""b"`, `"ro,bind"`, `errors="remount-ro,bind"`, `context"="a`, `context="`,
	} {
		if got, err := SplitOptions(bad); err == nil {
			t.Errorf("%q: got %q, want an error", bad, got)
		}
	}
}

// FuzzSplitOptions: nothing is lost or added, and no option but a quoted label has a comma.
func FuzzSplitOptions(f *testing.F) {
	f.Add(`noatime,` + label)
	f.Add(`context="a,b`)
	f.Fuzz(func(t *testing.T, text string) {
		options, err := SplitOptions(text)
		if err != nil {
			return
		}
		if got := strings.Join(options, ","); got != text {
			t.Errorf("%q became %q", text, got)
		}
		for _, o := range options {
			if strings.Contains(o, ",") && !labels([]string{o}) {
				t.Errorf("%q of %q has a comma", o, text)
			}
		}
	})
}

func TestForKernel(t *testing.T) {
	bits, text := forKernel([]string{"defaults", "noatime", "ro", "x-note", label, "nouuid"})
	if want := uintptr(unix.MS_NOATIME | unix.MS_RDONLY); bits != want || text != label+",nouuid" {
		t.Errorf("got %x and %q", bits, text)
	}
}

// TestLaterOptionsCount: as with mount(8).
func TestLaterOptionsCount(t *testing.T) {
	for _, c := range []struct {
		options []string
		want    uintptr
	}{
		{[]string{"noatime", "atime"}, 0},
		{[]string{"atime", "noatime"}, unix.MS_NOATIME},
		{[]string{"nosuid", "noexec", "suid"}, unix.MS_NOEXEC},
		{[]string{"sync", "async", "nodev", "dev", "lazytime", "nolazytime", "ro", "rw"}, 0},
	} {
		if got, text := forKernel(c.options); got != c.want || text != "" {
			t.Errorf("%q: got %x and %q", c.options, got, text)
		}
	}
}

package filesystem

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestGrowthOfWhatWasMounted: resize2fs grows only a file system that was checked as a whole since it was mounted last.
func TestGrowthOfWhatWasMounted(t *testing.T) {
	path := filepath.Join(t.TempDir(), "disk")
	if err := errors.Join(os.WriteFile(path, nil, 0o600), os.Truncate(path, 256<<20)); err != nil {
		t.Fatal(err)
	}
	for _, command := range []string{
		"mkfs.ext4 -q -F " + path + " 64M", "debugfs -w -R ssv:lastcheck:20200101 " + path, "debugfs -w -R ssv:mtime:20210101 " + path,
	} {
		args := strings.Fields(command)
		for i := range args {
			args[i] = strings.ReplaceAll(args[i], ":", " ")
		}
		if out, err := exec.Command(args[0], args[1:]...).CombinedOutput(); err != nil {
			t.Fatalf("%s: %v: %s", command, err, out)
		}
	}
	tools := ext4{}.GrowUnmounted(path)
	if err := tools[1].whenFree(t.Context(), &progress{}); err == nil {
		t.Fatal("resize2fs grew it unchecked, so this test shows nothing")
	}
	for _, tool := range tools {
		if err := tool.whenFree(t.Context(), &progress{}); err != nil {
			t.Error(err)
		}
	}
	file, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	if size, err := (ext4{}).SizeOnDisk(file); err != nil || size != 256<<20 {
		t.Errorf("it has %d bytes, %v", size, err)
	}
}

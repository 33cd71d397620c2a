package filesystem

import (
	"bytes"
	"fmt"
	"os"
	"regexp"
	"strconv"
	"strings"
	"sync"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/device"
)

// progress is how far a tool is, as far as it can be told.
type progress struct {
	device device.Number
	before int64
	howFar func(out string) string

	mu   sync.Mutex
	pass string
	out  *output
}

// output is what a tool prints, which is read while it prints.
type output struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.String()
}

// restart forgets what the tool said, as it is about to be run, and returns the place for what it prints.
func (p *progress) restart() *output {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.pass, p.out = "", &output{}
	return p.out
}

// String tells what the tool itself says and what was written to the device since the tool began.
func (p *progress) String() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	var parts []string
	if p.pass != "" {
		parts = append(parts, p.pass)
	}
	if p.howFar != nil && p.out != nil {
		if far := p.howFar(p.out.String()); far != "" {
			parts = append(parts, far)
		}
	}
	if now := written(p.device); now >= p.before && now > 0 {
		parts = append(parts, fmt.Sprintf("%d MiB written", (now-p.before)>>20))
	}
	return strings.Join(parts, ", ")
}

// follow reads e2fsck's progress: lines of a pass, its position and its end.
func (p *progress) follow(r *os.File) {
	defer r.Close() //nolint:errcheck // only read from
	var pass, at, end int64
	for {
		// The device's name follows on the line.
		var name string
		if n, err := fmt.Fscanf(r, "%d %d %d %s\n", &pass, &at, &end, &name); err != nil && n == 0 {
			return
		}
		p.mu.Lock()
		p.pass = fmt.Sprintf("pass %d of 5", pass)
		if end > 0 {
			p.pass += fmt.Sprintf(", %d%% of it", at*100/end)
		}
		p.mu.Unlock()
	}
}

// stepOfMake is the beginning of a line of mke2fs that says what it does: "Writing inode tables: ", and then counts,
// each of which it takes back by backspaces.
var (
	stepOfMake  = regexp.MustCompile(`^([A-Z][^:]+): `)
	countOfMake = regexp.MustCompile(`(\d+)/(\d+)`)
)

// farOfMake reads mke2fs: "Writing inode tables, 120 of 800".
func farOfMake(out string) string {
	line := out[strings.LastIndexByte(out, '\n')+1:]
	step := stepOfMake.FindStringSubmatch(line)
	if step == nil {
		return ""
	}
	counts := countOfMake.FindAllStringSubmatch(line, -1)
	if len(counts) == 0 {
		return step[1]
	}
	last := counts[len(counts)-1]
	return fmt.Sprintf("%s, %s of %s", step[1], last[1], last[2])
}

// passOfResize is what resize2fs prints of a pass: a bar of dashes, over which it goes back to overwrite them by Xs.
var passOfResize = regexp.MustCompile(`Begin pass (\d+) \(max = \d+\)\n(.+?) +(-+)\x08*(X*)`)

// farOfResize reads resize2fs: "pass 3, Scanning inode table, 52% of it". The passes are those of its manual: 1 to 5, of
// which it leaves out what there is nothing to do for.
func farOfResize(out string) string {
	passes := passOfResize.FindAllStringSubmatch(out, -1)
	if len(passes) == 0 {
		return ""
	}
	last := passes[len(passes)-1]
	return "pass " + last[1] + ", " + last[2] + ", " + strconv.Itoa(100*len(last[4])/len(last[3])) + "% of it"
}

// written is how many bytes were written to a device since it was plugged in, 0 when the kernel does not tell.
func written(n device.Number) int64 {
	raw, err := os.ReadFile("/sys/dev/block/" + n.String() + "/stat")
	if err != nil {
		return 0
	}
	const sectorsWritten, sector = 6, 512
	fields := strings.Fields(string(raw))
	if len(fields) <= sectorsWritten {
		return 0
	}
	var sectors int64
	if _, err := fmt.Sscan(fields[sectorsWritten], &sectors); err != nil {
		return 0
	}
	return sectors * sector
}

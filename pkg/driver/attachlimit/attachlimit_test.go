package attachlimit

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

var start = time.Date(2026, 11, 29, 1, 0, 0, 0, time.UTC)

func TestDecide(t *testing.T) {
	proof := func(volumes int64, age time.Duration) Proof { return Proof{Volumes: volumes, At: start.Add(-age)} }
	for name, c := range map[string]struct {
		facts Facts
		want  int64
		fault string
	}{
		"by the flag":                          {Facts{Flag: 11}, 11, ""},
		"16 by the flag":                       {Facts{Flag: 16}, 16, ""},
		"the label takes precedence":           {Facts{Flag: 11, Label: "5"}, 5, ""},
		"also upwards":                         {Facts{Flag: 11, Label: "16"}, 16, ""},
		"a label of 0":                         {Facts{Flag: 11, Label: "0"}, 11, `is "0"`},
		"a label below it":                     {Facts{Flag: 11, Label: "-1"}, 11, `is "-1"`},
		"a label above what there is":          {Facts{Flag: 11, Label: "17"}, 11, `is "17"`},
		"a label that is no number":            {Facts{Flag: 11, Label: "many"}, 11, Label},
		"less what is foreign":                 {Facts{Flag: 11, Disks: Disks{Foreign: 3}}, 8, ""},
		"also of a label":                      {Facts{Flag: 11, Label: "5", Disks: Disks{Foreign: 3}}, 2, ""},
		"never 0":                              {Facts{Flag: 11, Disks: Disks{Foreign: 11}}, 1, ""},
		"never below":                          {Facts{Flag: 1, Disks: Disks{Foreign: 16}}, 1, ""},
		"lowered by a proof":                   {Facts{Flag: 11, Proof: proof(8, time.Hour)}, 8, ""},
		"a label too":                          {Facts{Flag: 11, Label: "16", Proof: proof(8, time.Hour)}, 8, ""},
		"never raised":                         {Facts{Flag: 11, Proof: proof(14, time.Hour)}, 11, ""},
		"a proof counts foreign ones":          {Facts{Flag: 11, Proof: proof(8, time.Hour), Disks: Disks{Foreign: 2, Most: 8}}, 6, ""},
		"more were seen at once":               {Facts{Flag: 11, Proof: proof(8, time.Hour), Disks: Disks{Most: 10}}, 10, ""},
		"an old proof":                         {Facts{Flag: 11, Proof: proof(8, proofFor)}, 11, ""},
		"a proof of a clock that is ahead":     {Facts{Flag: 11, Proof: proof(8, -time.Hour)}, 8, ""},
		"a proof of a clock that is far ahead": {Facts{Flag: 11, Proof: proof(8, -proofFor)}, 11, ""},
		"without a proof its time is nothing":  {Facts{Flag: 11, Proof: proof(0, 0)}, 11, ""},
	} {
		limit, fault := Decide(c.facts, start)
		if limit != c.want || (fault != nil) != (c.fault != "") || (fault != nil && !strings.Contains(fault.Error(), c.fault)) {
			t.Errorf("%s: got %d, %v, want %d", name, limit, fault, c.want)
		}
	}
}

func id(n int) string     { return fmt.Sprintf("%08x-0000-4000-8000-000000000000", n) }
func serial(n int) string { return fmt.Sprintf("ewr-%08x000040", n) }

func TestJudge(t *testing.T) {
	var m Memory
	at := start
	look := func(after time.Duration, s Seen, foreign, most int) {
		t.Helper()
		at = at.Add(after)
		if d := m.Judge(s, at); d.Foreign != foreign || d.Most != most {
			t.Errorf("after %s: got %+v, want %d foreign and %d at most", at.Sub(start), d, foreign, most)
		}
	}
	others := []string{"", "vda-of-the-host", "QEMU_HARDDISK", "0", serial(1), serial(1)}
	// What is there when the process starts, and is nobody's, counts at once; once, whatever shows it twice.
	look(0, Seen{Serials: append(others, serial(2)), Ours: []string{id(2)}}, 1, 2)
	// What appears is not foreign before the cluster had the time to know it.
	look(time.Minute, Seen{Serials: append(others, serial(2), serial(3), serial(4)), Ours: []string{id(2)}}, 1, 4)
	look(time.Minute, Seen{Serials: append(others, serial(2), serial(3), serial(4)), Ours: []string{id(2), id(3)}}, 1, 4)
	look(time.Minute, Seen{Serials: append(others, serial(2), serial(3), serial(4)), Ours: []string{id(2), id(3)}}, 2, 4)
	// What was ours is not foreign while it is being detached.
	look(time.Minute, Seen{Serials: []string{serial(2), serial(3)}, Ours: []string{id(2)}}, 0, 4)
	look(time.Minute, Seen{Serials: []string{serial(2), serial(3)}, Ours: []string{id(2)}}, 1, 4)
	// One that left and comes back is new.
	look(time.Hour, Seen{Serials: []string{serial(2)}, Ours: []string{id(2)}}, 0, 4)
	look(time.Hour, Seen{Serials: []string{serial(2), serial(3)}, Ours: []string{id(2)}}, 0, 4)
	// A new proof says nothing of what was attached before it.
	look(0, Seen{Serials: []string{serial(2), serial(3)}, Ours: []string{id(2)}, Proof: Proof{Volumes: 1, At: at}}, 0, 2)
}

// TestDisksThatDoNotTell: a disk that cannot be read may be one of ours which is not seen otherwise, or is foreign.
func TestDisksThatDoNotTell(t *testing.T) {
	for _, c := range []struct {
		unread int
		ours   []string
		want   int
	}{
		{0, []string{id(1), id(2)}, 0},
		{1, []string{id(1), id(2)}, 0},
		{2, []string{id(1), id(2)}, 1},
		{2, nil, 3},
	} {
		var m Memory
		if d := m.Judge(Seen{Serials: []string{serial(1)}, Unread: c.unread, Ours: c.ours}, start); d.Foreign != c.want {
			t.Errorf("%+v: %d are foreign", c, d.Foreign)
		}
	}
}

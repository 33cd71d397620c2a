package vultr

import (
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"
)

// life runs n operations that take what takes says, and gives polls and overshoot of the last half.
func life(l *learned, op string, n int, takes func() time.Duration) (polls, overshoot float64) {
	counted := 0
	for i := range n {
		duration := takes()
		look := l.firstLook(op)
		missed, looks := time.Duration(0), 1
		for ; look < duration; looks++ {
			missed = look
			look += firstInterval
		}
		l.took(op, missed, look)
		if i >= n/2 {
			counted++
			polls += float64(looks)
			overshoot += (look - duration).Seconds()
		}
	}
	return polls / float64(counted), overshoot / float64(counted)
}

func TestLearnedFirstLook(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	tests := []struct {
		name      string
		takes     func() time.Duration
		polls     float64 // on average at most
		overshoot float64 // seconds on average at most
	}{
		{"as usual", func() time.Duration { return 4 * time.Second }, 1.1, 0.3},
		{"fast", func() time.Duration { return 300 * time.Millisecond }, 1.1, 0.2},
		{"slow", func() time.Duration { return 12 * time.Second }, 1.1, 0.9},
		{"spread", func() time.Duration { return 3*time.Second + time.Duration(r.Int64N(int64(2*time.Second))) }, 1.3, 1.2},
		{"very short", func() time.Duration { return time.Millisecond }, 1.1, 0.25},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			polls, overshoot := life(newLearned(1), "attach", 400, test.takes)
			t.Logf("%.2f polls, %.2f s late", polls, overshoot)
			if polls > test.polls || overshoot > test.overshoot {
				t.Errorf("%.2f polls (want %.2f), %.2f s late (want %.2f)", polls, test.polls, overshoot, test.overshoot)
			}
		})
	}
}

func TestTheFirstOperationNeedsOneLook(t *testing.T) {
	const lag = time.Second // of the reads that show it
	for op, usual := range map[string]time.Duration{
		"create": 3*time.Second + lag, "attach": 4*time.Second + lag, "detach": 4*time.Second + lag, "resize": lag,
		"snapshot create": lag, "snapshot": 3*time.Second + lag, "snapshot again": 2*time.Second + lag,
		"file system": 5*time.Second + lag, "file system attachment": 4*time.Second + lag,
	} {
		for _, scale := range []float64{1, 0.01} {
			l := newLearned(scale)
			duration := time.Duration(float64(usual) * scale)
			if d := l.firstLook(op); d <= duration || d > duration*11/10 {
				t.Errorf("%s at scale %v: first look after %v, it takes %v", op, scale, d, duration)
			}
		}
	}
	if d := newLearned(1).firstLook("unheard of"); d <= 0 || d > 3*time.Second {
		t.Errorf("an unknown operation: %v", d)
	}
}

// TestOneLookTooEarlyALife: of the three waits of a volume's life at most one ends with a second look, however long the
// process has run, and that seldom. The times differ by some tens of milliseconds, as on a busy machine.
func TestOneLookTooEarlyALife(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	synctest.Test(t, func(t *testing.T) {
		const lives = 2000
		l, early := newLearned(1), 0
		for n := range lives {
			missed := 0
			for op, takes := range map[string]time.Duration{"create": 4 * time.Second, "attach": 5 * time.Second, "detach": 5 * time.Second} {
				polls, _ := life(l, op, 1, func() time.Duration { return takes + time.Duration(r.Int64N(int64(80*time.Millisecond))) })
				missed += int(polls) - 1
				time.Sleep(takes)
			}
			if missed > 1 {
				t.Errorf("%d looks of life %d came too early", missed, n)
			}
			early += missed
			time.Sleep(time.Duration(r.Int64N(int64(time.Minute)))) // of the fake clock
		}
		if early == 0 || early > lives/7 {
			t.Errorf("%d of %d lives had a look that came too early", early, lives)
		}
	})
}

// TestOneSlowOperation: what once takes far longer than ever does not make all that follow wait as long. When it goes on
// they do.
func TestOneSlowOperation(t *testing.T) {
	l := newLearned(1)
	takes := func(d time.Duration) { life(l, "attach", 1, func() time.Duration { return d }) }
	takes(5 * time.Second)
	takes(20 * time.Second)
	if d := l.firstLook("attach"); d > 11*time.Second {
		t.Errorf("after a single one that took 20 s the next one is looked at after %v", d)
	}
	for range 10 {
		takes(5 * time.Second)
	}
	if d := l.firstLook("attach"); d > 9*time.Second {
		t.Errorf("ten usual ones later the next one is looked at after %v", d)
	}
	for range 4 {
		takes(20 * time.Second)
	}
	if d := l.firstLook("attach"); d < 19*time.Second {
		t.Errorf("after four that took 20 s the next one is looked at after %v", d)
	}
}

func TestLearnedFollowsAChange(t *testing.T) {
	l := newLearned(1)
	for _, takes := range []time.Duration{8 * time.Second, time.Second, 25 * time.Second, 2 * time.Second, time.Hour} {
		life(l, "create", 300, func() time.Duration { return min(takes, time.Minute) })
		got := l.firstLook("create")
		if want := min(takes, longestLook); got < want*8/10 || got > want*13/10 {
			t.Errorf("after many of %v the first look comes after %v", takes, got)
		}
	}
}

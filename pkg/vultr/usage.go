package vultr

import "time"

// usageSeconds is how far back usage counts.
const usageSeconds = 60

// usage counts what happened in each of the last seconds.
type usage struct {
	counts [usageSeconds]int
	of     [usageSeconds]int64 // which second, since 1970, a count is of
}

func (u *usage) add(now time.Time) {
	second := now.Unix()
	slot := second % usageSeconds
	if u.of[slot] != second {
		u.of[slot], u.counts[slot] = second, 0
	}
	u.counts[slot]++
}

// within returns how much happened in the last usageSeconds, the present one included.
func (u *usage) within(now time.Time) int {
	sum := 0
	for slot, count := range u.counts {
		if age := now.Unix() - u.of[slot]; age >= 0 && age < usageSeconds {
			sum += count
		}
	}
	return sum
}

package volume

import "math"

// Bounds are the sizes in GiB in which the platform sells a kind of volume.
type Bounds struct {
	Min int64
	// Max is 0 where no bound is known: the platform judges.
	Max int64
	// Default is what a request without a size gets.
	Default int64
}

// Offer is the bounds where the kind is sold.
func (b Bounds) Offer() Offer {
	if b.Max == 0 {
		return Offer{MinGiB: b.Min, MaxGiB: Unbounded}
	}
	return Offer{MinGiB: b.Min, MaxGiB: b.Max}
}

// Choose returns the size in whole GiB for a new volume: the smallest that the platform sells and that lies in the range,
// or an OutOfRange error. what names the kind of volume in it.
func (b Bounds) Choose(what string, c Capacity) (int64, error) {
	if err := c.check(); err != nil {
		return 0, err
	}
	wish := WholeGiB(c.Required)
	if c.Required == 0 {
		wish = b.Default
	}
	size := max(wish, b.Min)
	switch {
	case b.Max != 0 && size > b.Max:
		return 0, Errorf(OutOfRange, "%d bytes are wished, the largest %s volume has %d GiB", c.Required, what, b.Max)
	case c.Limit != 0 && size*GiB > c.Limit:
		return 0, Errorf(OutOfRange,
			"the smallest %s volume that holds %d bytes has %d GiB (sizes are whole GiB from %d on), which is more than the limit of %d bytes",
			what, c.Required, size, b.Min, c.Limit)
	}
	return size, nil
}

// Grow returns the size in whole GiB to which a volume must grow, its present size when that is enough.
func (b Bounds) Grow(what string, present int64, c Capacity) (int64, error) {
	if err := c.check(); err != nil {
		return 0, err
	}
	if c.Limit != 0 && present*GiB > c.Limit {
		return 0, Errorf(OutOfRange, "the volume has %d GiB, which is more than the limit of %d bytes; volumes cannot shrink", present, c.Limit)
	}
	if present*GiB >= c.Required {
		return present, nil
	}
	return b.Choose(what, c)
}

func (c Capacity) check() error {
	if c.Required < 0 || c.Limit < 0 {
		return Errorf(OutOfRange, "a size must not be negative (required %d, limit %d bytes)", c.Required, c.Limit)
	}
	if c.Limit != 0 && c.Limit < c.Required {
		return Errorf(OutOfRange, "the limit of %d bytes is below the required %d bytes", c.Limit, c.Required)
	}
	return nil
}

// WholeGiB returns the size in GiB, rounded up.
func WholeGiB(bytes int64) int64 {
	if bytes > math.MaxInt64-GiB {
		return math.MaxInt64 / GiB
	}
	return (bytes + GiB - 1) / GiB
}

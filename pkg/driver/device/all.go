package device

// All returns the serials of all devices that tell one, and how many may have one that could not be read. It waits for a
// disk that does not answer no longer than Find does.
func (f Finder) All() (serials []string, unread int, err error) {
	names, err := f.names()
	if err != nil {
		return nil, 0, err
	}
	for _, a := range f.serials(names) {
		switch {
		case a.sick():
			unread++
		case a.err == nil && a.serial != "":
			serials = append(serials, a.serial)
		}
	}
	return serials, unread, nil
}

package luks

import "fmt"

// MaxPassphrase is how many bytes cryptsetup lets a person type in.
const MaxPassphrase = 512

// Passphrase is a secret. However it is printed, it does not show.
type Passphrase string

// Format prints that there is one, whatever the verb.
func (p Passphrase) Format(f fmt.State, _ rune) {
	text := "[a passphrase]"
	if p == "" {
		text = "[no passphrase]"
	}
	_, _ = fmt.Fprint(f, text) // a Formatter has nowhere to report to
}

// MarshalText is the same for JSON.
func (p Passphrase) MarshalText() ([]byte, error) { return fmt.Append(nil, p), nil }

// Keys are the passphrases of a volume.
type Keys struct {
	// Current opens it, and Previous did before the passphrase was changed, "" when it was not.
	Current, Previous Passphrase
}

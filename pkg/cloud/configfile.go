package cloud

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/spf13/pflag"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/cloud/config"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/cloud/settings"
)

// source is a flag, or one of the pairs that a flag has.
type source struct{ flag, pair string }

// Load takes over what a file says and the command line does not: flags win, of pairs each by its name. The flags are those
// that AddFlags has added, after they were parsed. The error joins everything that is wrong with the file but for values that
// Validate judges.
func (o *Options) Load(file string, flags *pflag.FlagSet) error {
	data, err := os.ReadFile(file)
	if err != nil {
		return fmt.Errorf("--cloud-config: %w", err)
	}
	values, wrong := config.Parse(data)
	faults := make([]error, 0, len(wrong))
	for _, fault := range wrong {
		faults = append(faults, errors.New(fault.In(file)))
	}
	given := map[string]bool{} // on the command line
	flags.Visit(func(flag *pflag.Flag) { given[flag.Name] = true })
	named := map[string]bool{}
	for _, text := range o.LoadBalancerDefaults {
		named[nameOfPair(text)] = true
	}
	o.file, o.read = file, map[source]config.Value{}
	for _, value := range values {
		of, overruled := source{flag: value.Flag}, given[value.Flag]
		if value.Type == config.Pairs {
			of.pair, overruled = value.Text, named[nameOfPair(value.Text)]
		}
		if overruled {
			continue
		}
		o.read[of] = value
		if err := set(flags, value); err != nil {
			faults = append(faults, o.fault(of, err.Error()))
		}
	}
	return errors.Join(faults...)
}

// set gives a flag its value, as if it were on the command line.
func set(flags *pflag.FlagSet, value config.Value) error {
	flag := flags.Lookup(value.Flag)
	if flag == nil {
		return fmt.Errorf("the flag --%s does not exist", value.Flag)
	}
	if err := flag.Value.Set(value.Text); err != nil {
		return fmt.Errorf("%q is not a valid value: %w", value.Text, err)
	}
	flag.Changed = true
	return nil
}

// nameOfPair returns the name of an annotation in name=value, without the common prefix.
func nameOfPair(text string) string {
	name, _, _ := strings.Cut(text, "=")
	return strings.TrimPrefix(name, settings.Prefix)
}

// fault says where a value stands and what is wrong with it.
func (o *Options) fault(of source, problem string) error {
	if value, ok := o.read[of]; ok {
		return fmt.Errorf("%s, line %d: %s: %s", o.file, value.Line, value.Path, problem)
	}
	return fmt.Errorf("--%s: %s", of.flag, problem)
}

package simulator

// TurnOff takes a trait away from a simulator.
func (s *Simulator) TurnOff(trait string) { s.turnOff(quirk(trait)) }

// Route is one operation of the API, for tests.
type Route struct {
	Resource, Method, Path, Operation string
	Open                              bool
}

// Routes are all operations, in the order of the documentation.
func Routes() []Route {
	var out []Route
	for _, res := range resources {
		for _, r := range res.routes {
			out = append(out, Route{res.name, r.method, r.path, r.operation, r.open})
		}
	}
	return out
}

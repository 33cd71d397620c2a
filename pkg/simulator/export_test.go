package simulator

// TurnOff takes a trait away from a simulator.
func (s *Simulator) TurnOff(trait string) { s.turnOff(quirk(trait)) }

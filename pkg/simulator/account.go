package simulator

import "net/http"

var accountRoutes = []route{
	{method: "GET", path: "/v2/account", operation: "get_account", handle: (*Simulator).getAccount},
}

func (s *Simulator) getAccount(*call) (int, any, error) {
	return http.StatusOK, map[string]any{"account": map[string]any{
		"name":                "Simulated Account",
		"email":               "admin@example.com",
		"acls":                []string{"manage_users", "subscriptions_view", "subscriptions", "provisioning", "billing", "support", "abuse", "dns", "upgrade", "objstore", "loadbalancer", "firewall"},
		"balance":             0,
		"pending_charges":     0,
		"last_payment_date":   "2026-01-01T00:00:00+00:00",
		"last_payment_amount": 0,
	}}, nil
}

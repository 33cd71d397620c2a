package simulator

import "net/http"

var accountRoutes = []route{
	{method: "GET", path: "/v2/account", operation: "get_account", handle: (*Simulator).getAccount},
	{method: "GET", path: "/v2/account/bandwidth", operation: "get_account_bandwidth", handle: (*Simulator).getAccountBandwidth},
}

// getAccountBandwidth counts nothing: no traffic is measured here.
func (s *Simulator) getAccountBandwidth(*call) (int, any, error) {
	period := map[string]any{
		"timestamp_start": "0", "timestamp_end": "0", "gb_in": 0, "gb_out": 0, "total_instance_hours": 0, "total_instance_count": s.instances.Len(),
		"instance_bandwidth_credits": 0, "free_bandwidth_credits": 0, "purchased_bandwidth_credits": 0, "overage": 0,
		"overage_unit_cost": 0.01, "overage_cost": 0,
	}
	return http.StatusOK, map[string]any{"bandwidth": map[string]any{
		"previous_month": period, "current_month_to_date": period, "current_month_projected": period,
	}}, nil
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

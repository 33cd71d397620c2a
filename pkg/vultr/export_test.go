package vultr

// NewClientOver makes a Client over any network.
var NewClientOver = newClient

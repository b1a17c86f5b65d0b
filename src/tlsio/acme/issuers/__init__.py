"""What issues certificates: the contract, authorities that speak ACME, and one of your own."""

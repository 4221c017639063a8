"""From the arguments of a call to a checked problem on the padded grid."""

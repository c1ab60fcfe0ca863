"""Commands of the rooms' top: flash, deploy, doctor, power. Each module imports click alone at its top."""

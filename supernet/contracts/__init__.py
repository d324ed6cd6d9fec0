"""What every family and every format is held to, as test classes that anybody can subclass.

from elasticnas.supernet.contracts.families import FamilyContract

class TestMine(FamilyContract):
    family = MINE
"""
